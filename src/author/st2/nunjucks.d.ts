/** The parser of nunjucks, the only part of it that is used: nothing is ever rendered. */
declare module "nunjucks/src/parser.js" {
  export function parse(
    source: string,
    extensions: [],
    options: { trimBlocks: boolean; lstripBlocks: boolean },
  ): unknown;
}
