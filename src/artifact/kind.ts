import { extname } from "node:path";
import type { ArtifactType } from "./fields.ts";

interface Kind {
  type: ArtifactType;
  contentType: string;
}

const plain = (subtype: string): Kind => ({ type: "file_text", contentType: `text/${subtype}; charset=utf-8` });
const image = (subtype: string): Kind => ({ type: "file_image", contentType: `image/${subtype}` });
const table = (contentType: string): Kind => ({ type: "file_datatable", contentType });
const structured = (subtype: string): Kind => ({ type: "file_text", contentType: `application/${subtype}` });
const binary = (subtype: string): Kind => ({ type: "file_binary", contentType: `application/${subtype}` });

const kinds: Readonly<Record<string, Kind>> = {
  ".txt": plain("plain"),
  ".log": plain("plain"),
  ".md": plain("markdown"),
  ".htm": plain("html"),
  ".html": plain("html"),
  ".css": plain("css"),
  ".diff": plain("plain"),
  ".patch": plain("plain"),
  ".json": structured("json"),
  ".jsonl": structured("jsonl"),
  ".xml": structured("xml"),
  ".yaml": structured("yaml"),
  ".yml": structured("yaml"),
  ".csv": table("text/csv; charset=utf-8"),
  ".tsv": table("text/tab-separated-values; charset=utf-8"),
  ".png": image("png"),
  ".jpg": image("jpeg"),
  ".jpeg": image("jpeg"),
  ".gif": image("gif"),
  ".webp": image("webp"),
  ".avif": image("avif"),
  ".svg": image("svg+xml"),
  ".pdf": binary("pdf"),
  ".zip": binary("zip"),
  ".gz": binary("gzip"),
  ".tar": binary("x-tar"),
};

/** Returns the artifact type and media type for the extension of a file's name; binary when it is unknown. */
export function kindOf(name: string): Kind {
  return kinds[extname(name).toLowerCase()] ?? binary("octet-stream");
}
