import { upperCased } from "../kit/enums.ts";

export const HmacAlgorithm = upperCased("HmacAlgorithm", "The hash algorithm of a webhook's signature.", {
  sha1: "SHA-1: secure in a signature with a secret, and what older senders use.",
  sha256: "SHA-256.",
  sha512: "SHA-512.",
});

export const HmacEncoding = upperCased("HmacEncoding", "How a signature is written.", {
  hex: "Hexadecimal digits, in either case.",
  base64: "Base64 with its padding.",
});

export const WebhookScheme = upperCased("WebhookScheme", "How a sender signs its requests to a webhook.", {
  github: "GitHub's: the body is signed in hex, and a header has the delivery's id, which is not signed.",
  gitlab:
    "GitLab's secret token, which the header `X-Gitlab-Token` contains. For a signing token use STANDARD_WEBHOOKS, as GitLab does.",
  meta: "Meta's: the body is signed in hex, without an id. Each body is accepted once.",
  shopify: "Shopify's: the body is signed in base64, and a header has the delivery's id, which is not signed.",
  slack: "Slack's: time and body are signed.",
  standard_webhooks: "Standard Webhooks: id, time and body are signed.",
  stripe: "Stripe's: time and body are signed.",
  twilio:
    "Twilio's: the URL and the parameters are signed, without an id or a time. It needs `ATTUNE__SERVER__PUBLIC_URL`; each request is accepted once.",
  typeform: "Typeform's: the body is signed in base64, without an id. Each body is accepted once.",
  token: "A header contains the secret itself, by default as `Authorization: Bearer <secret>`.",
  body: "Any other: by default the body is signed in hex. Without a time and a `deliveryHeader`, a request that is sent again is accepted again.",
});
