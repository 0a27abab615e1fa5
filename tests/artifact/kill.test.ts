import { createHash, randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sweepFiles } from "../../src/artifact/retention.ts";
import { cloneDatabase, createServices } from "../support/database.ts";
import { request, startInProcess, startProcess } from "../support/server.ts";

const bytes = new Uint8Array(randomBytes(2 * 1024 * 1024));
const announcement = {
  ref: "killed",
  type: "FILE_BINARY",
  contentType: "application/zip",
  size: String(bytes.length),
  sha256: createHash("sha256").update(bytes).digest("hex"),
};

const announce = `mutation ($input: CreateArtifactUploadInput!) { createArtifactUpload(input: $input) {
  ... on CreateArtifactUploadPayload { upload { url } } ... on Error { message } } }`;
const query = `{ artifacts { nodes { ref versions { nodes { version sha256 downloadUrl } } } } }`;

interface Found {
  artifacts: {
    nodes: { ref: string; versions: { nodes: { version: number; sha256: string; downloadUrl: string }[] } }[];
  };
}

test("kill -9 between a version's file and its row leaves no version, and the same link still works", async () => {
  const location = await cloneDatabase("core");
  const directory = join(location.dataDir, "artifacts");
  const settings = { ATTUNE__ARTIFACTS__DIR: directory };
  const files = () =>
    readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const put = (base: string, url: string) =>
    fetch(`${base}${url}`, { method: "PUT", body: bytes, headers: { "content-type": "application/zip" } });

  let url: string;
  {
    await using server = await startProcess(location, { ...settings, ATTUNE__TEST__FAULT: "artifact.before_commit" });
    const created = await request<{ createArtifactUpload: { upload: { url: string } } }>(server, announce, {
      input: announcement,
    });
    url = created.createArtifactUpload.upload.url;
    await expect(put(server.url, url)).rejects.toThrow();
    await server.exited;
    expect(server.child.signalCode).toBe("SIGKILL");
    expect(files()).toHaveLength(1);
  }
  {
    await using server = await startInProcess(location, settings);
    expect((await request<Found>(server, query)).artifacts.nodes).toEqual([{ ref: "killed", versions: { nodes: [] } }]);
    expect((await put(server.url, url)).status).toBe(201);
    const [found] = (await request<Found>(server, query)).artifacts.nodes;
    expect(found?.versions.nodes).toMatchObject([{ version: 1, sha256: announcement.sha256 }]);
    const response = await fetch(`${server.url}${found?.versions.nodes[0]?.downloadUrl}`);
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
    expect(files()).toHaveLength(2);
  }
  await using services = await createServices(location);
  expect(await sweepFiles(services, -1000)).toBe(1);
  const named = await services.db.query.artifactVersions.findMany({ columns: { storageKey: true } });
  expect(files().map((file) => join(file.parentPath, file.name))).toEqual(
    named.map(({ storageKey }) => join(directory, storageKey ?? "")),
  );
});
