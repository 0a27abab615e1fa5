import { readFileSync } from "node:fs";

const token = readFileSync(process.env.ATTUNE_TOKEN_FILE, "utf8");
const { role } = JSON.parse(readFileSync(0, "utf8"));

async function send(query, variables) {
  const response = await fetch(`${process.env.ATTUNE_API_URL}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

const { createInquiry } = await send(
  `mutation ($role: String!) { createInquiry(input: {prompt: "May I?", assignedRole: $role}) {
    ... on CreateInquiryPayload { inquiry { id status viewerCan { respond cancel } execution { id } } } ... on Error { message } } }`,
  { role },
);
const { id, viewerCan } = createInquiry.inquiry;
const { respondToInquiry } = await send(
  `mutation ($id: ID!) { respondToInquiry(input: {id: $id, response: true}) { __typename } }`,
  { id },
);
for (;;) {
  const { inquiry } = await send("query ($id: ID!) { inquiry(id: $id) { status response } }", { id });
  if (inquiry.status !== "PENDING") {
    const { status, response } = inquiry;
    console.log(
      JSON.stringify({
        own: process.env.ATTUNE_EXEC_ID,
        viewerCan,
        refused: respondToInquiry.__typename,
        status,
        response,
      }),
    );
    break;
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
}
