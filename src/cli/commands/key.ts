import { mutate } from "../client.ts";
import { define, type Group, groupOf, option } from "../define.ts";
import { askSecret, readSecretLine } from "../input.ts";
import { resourceOf } from "../resources.ts";
import { findOne } from "./resource.ts";

interface SetOptions {
  pack?: string;
  action?: string;
  sensor?: string;
  identity?: string;
  readable?: boolean;
}

const owners = ["pack", "action", "sensor", "identity"] as const;

/** Adds `key set`, `get` and `delete`. */
export function addKeys(above: Group): void {
  const commands = groupOf(above, "key");
  const resource = resourceOf("key");
  const { fields, columns } = resource;
  define<SetOptions>(commands, {
    name: "set <name> [value]",
    description: "store a key; without a value, the first line of standard input or what is typed is stored",
    options: [
      ...owners.map((owner) =>
        option(
          `--${owner} <${owner === "identity" ? "login" : "ref"}>`,
          `of this ${owner} rather than of the system`,
          owner,
        ).conflicts(owners.filter((other) => other !== owner)),
      ),
      option("--readable", "stored as it is, not encrypted"),
    ],
    examples: ["set greeting hello --readable", "set password --pack default < password.txt"],
    run: async (context, [name = "", given], { readable, ...owner }) => {
      const { terminal } = context;
      const typed = () => askSecret(terminal, "Value", "send the value on standard input");
      const value = given ?? (await (terminal.stdin.isTTY ? typed() : readSecretLine(terminal, "the value")));
      const input = {
        name,
        value,
        encrypted: !readable,
        owner: Object.keys(owner).length > 0 ? owner : { system: true },
      };
      const { key } = await mutate<{ key: object }>(context.ask, "setKey", input, `key { ${fields} }`);
      await context.printOne(key, columns);
    },
  });
  define<{ reveal?: boolean }>(commands, {
    name: "get <ref>",
    description: "show a key, or print its value",
    options: [option("--reveal", "print the value; the audit trail records it")],
    examples: ["get system.greeting", "get system.greeting --reveal"],
    names: "key",
    run: async (context, [ref = ""], { reveal }) => {
      if (!reveal) return await context.printObject(await findOne(context, resource, ref, fields));
      const { revealed } = await mutate<{ revealed: { value: string } }>(
        context.ask,
        "revealKey",
        { ref },
        `revealed { key { ${fields} } value }`,
      );
      if (context.options.output === "table") return await context.write(`${revealed.value}\n`);
      await context.printValue(revealed);
    },
  });
  define(commands, {
    name: "delete <ref>",
    description: "delete a key",
    examples: ["delete system.greeting"],
    names: "key",
    run: async (context, [ref = ""]) => {
      await mutate(context.ask, "deleteKey", { ref }, "__typename");
      context.note(`${ref} is deleted.`);
    },
  });
}
