import { execFileSync } from "node:child_process";
import { beforeAll, describe, expect, test } from "vitest";
import { evaluated as shimNames } from "../../src/author/st2/evaluated.ts";
import { Inexpressible, loadParser, type Part } from "../../src/author/st2/jinja.ts";
import { scriptOf, shellTemplateOf } from "../../src/author/st2/shell.ts";
import { templateOf } from "../../src/author/st2/template.ts";
import { compileTemplates } from "../../src/lang/template.ts";
import type { Json } from "../../src/lib/json.ts";

const payload = {
  body: {
    ...{
      name: "Bob",
      n: 5,
      half: 0.5,
      zero: 0,
      empty: "",
      nul: null,
      yes: true,
      no: false,
      list: ["b", "a"],
      path: "/var/log/x.log",
    },
    ...{ nested: { a: { b: 1 } }, "x-y": "dash", items: [{ id: 1 }, { id: 2 }], csv: "a,b,c", padded: " p " },
  },
  headers: { "x-github-event": "push" },
};

let parse: (source: string) => Part[];
beforeAll(async () => {
  parse = await loadParser();
});

function evaluated(source: string): Json {
  const { render } = compileTemplates(templateOf(parse(source)), "p");
  return render({ event: { payload }, now: new Date(0) }, (name) => `<${name}>`).value;
}

/** Each as Jinja gives it, with the types that JSON has. */
const expressions: [string, Json][] = [
  ["plain text", "plain text"],
  ["{{ trigger.body.name }}", "Bob"],
  ["{{trigger.body.n}}", 5],
  ["{{ trigger.body.half }}", 0.5],
  ["{{ trigger.body.yes }}", true],
  ["{{ trigger.body.nul }}", null],
  ["{{ trigger.body.list }}", ["b", "a"]],
  ["{{ trigger.body.nested }}", { a: { b: 1 } }],
  ["{{ trigger.body.nested.a.b }}", 1],
  ["{{ trigger['body']['name'] }}", "Bob"],
  ["{{ trigger.body['x-y'] }}", "dash"],
  ["{{ trigger.headers['X-GitHub-Event'] }}", "push"],
  ["{{ trigger.body.list[0] }}", "b"],
  ["{{ trigger.body.list[-1] }}", "a"],
  ["{{ trigger.body.items[1].id }}", 2],
  ["{{ trigger.body.items[trigger.body.zero].id }}", 1],
  ["Hello, {{ trigger.body.name }}!", "Hello, Bob!"],
  ["{{ trigger.body.name }}-{{ trigger.body.n }}", "Bob-5"],
  ["n={{ trigger.body.n }} {{ trigger.body.yes }}", "n=5 true"],
  ["one line\n{{ trigger.body.name }}\n", "one line\nBob"],
  ["{{ trigger.body.name | upper }}", "BOB"],
  ["{{ trigger.body.name|lower }}", "bob"],
  ["{{ trigger.body.padded | trim }}", "p"],
  ["{{ trigger.body.list | length }}", 2],
  ["{{ trigger.body.list | join(', ') }}", "b, a"],
  ["{{ trigger.body.list | join }}", "ba"],
  ["{{ trigger.body.list | first }}", "b"],
  ["{{ trigger.body.list | last }}", "a"],
  ["{{ trigger.body.name | replace('B', 'R') }}", "Rob"],
  ["{{ trigger.body.n | string }}", "5"],
  ["{{ '7' | int }}", 7],
  ["{{ '1.5' | float }}", 1.5],
  ["{{ trigger.body.path | basename }}", "x.log"],
  ["{{ trigger.body.name | default('nobody') }}", "Bob"],
  ["{{ trigger.body.missing | default('nobody') }}", "nobody"],
  ["{{ trigger.body.deep.er.missing | default(3) }}", 3],
  ["{{ trigger.body['missing-too'] | d('x') }}", "x"],
  ["{{ trigger.body.list[7] | default('none') }}", "none"],
  ["{{ trigger.body.empty | default('filled', true) }}", "filled"],
  ["{{ trigger.body.empty | default('filled') }}", ""],
  ["{{ trigger.body.missing | default('a') | upper }}", "A"],
  ["{{ trigger.body.name | regex_match('B.b') }}", true],
  ["{{ trigger.body.name | regex_match('ob') }}", false],
  ["{{ trigger.body.name | regex_search('OB', true) }}", true],
  ["{{ trigger.body.nested | to_complex }}", { a: { b: 1 } }],
  ["{{ trigger.body.name | use_none }}", "Bob"],
  ["{{ trigger.body.csv.split(',')[1] }}", "b"],
  ["{{ trigger.body.name.upper() }}", "BOB"],
  ["{{ trigger.body.name.startswith('B') }}", true],
  ["{{ trigger.body.nested.get('z', 'other') }}", "other"],
  ["{{ trigger.body.n + 1 }}", 6],
  ["{{ trigger.body.n - 1 }}", 4],
  ["{{ trigger.body.n * 2 }}", 10],
  ["{{ 7 / 2 }}", 3.5],
  ["{{ -trigger.body.n }}", -5],
  ["{{ trigger.body.name ~ '/' ~ trigger.body.n }}", "Bob/5"],
  ["{{ 1 < trigger.body.n <= 5 }}", true],
  ["{{ trigger.body.n == '5' }}", false],
  ["{{ trigger.body.name != 'Bob' }}", false],
  ["{{ 'o' in trigger.body.name }}", true],
  ["{{ 'a' in trigger.body.list }}", true],
  ["{{ 'z' not in trigger.body.list }}", true],
  ["{{ trigger.body.yes and not trigger.body.no }}", true],
  ["{{ trigger.body.empty or 'other' }}", "other"],
  ["{{ trigger.body.name and trigger.body.n }}", 5],
  ["{{ 'many' if trigger.body.n > 3 else 'few' }}", "many"],
  ["{{ 1 if trigger.body.zero else 'zero' }}", "zero"],
  ["{{ trigger.body.missing is defined }}", false],
  ["{{ trigger.body.name is not defined }}", false],
  ["{{ trigger.body.nul is none }}", true],
  ["{{ trigger.body.name is string }}", true],
  ["{{ [trigger.body.n, 'x'] }}", [5, "x"]],
  ["{{ {'a': trigger.body.n} }}", { a: 5 }],
  ["{{ True }}", true],
  ["{% if trigger.body.n > 3 %}big{% else %}small{% endif %}", "big"],
  ["{% if trigger.body.missing %}a{% elif trigger.body.list %}b{{ trigger.body.n }}{% endif %}", "b5"],
  ["{% raw %}{{ kept }}{% endraw %}", "{{ kept }}"],
  ["{{ '{{ 1 + 1 }}' }}", "{{ 1 + 1 }}"],
  ["{{ '{' }}{{ trigger.body.name }}", "{Bob"],
  ["{% raw %}{{ {% endraw %}{{ trigger.body.name }}", "{{ Bob"],
  ["{{ st2kv.system.api_token }}", "<system.api_token>"],
  ["{{ st2kv.system.api_token | decrypt_kv }}", "<system.api_token>"],
  ["Bearer {{ system.api_token }}", "Bearer <system.api_token>"],
];

describe("Jinja becomes CEL that gives the same", () => {
  test.each(expressions)("%s", (source, value) => {
    expect(evaluated(source)).toEqual(value);
  });
});

describe("what has no counterpart is refused with its reason", () => {
  test.each([
    ["{% for x in trigger.body.list %}{{ x }}{% endfor %}", "{% for %} has no counterpart (line 1"],
    ["{% set a = 1 %}{{ a }}", "{% set %} has no counterpart"],
    ["{% include 'x' %}", "{% include %} has no counterpart"],
    ["{% macro m() %}{% endmacro %}", "{% macro %} has no counterpart"],
    ["{{ trigger.body.name", "the template is not valid"],
    ["{{ trigger.body.list[0:1] }}", "the template is not valid"],
    ["{{ trigger.body.name | title }}", 'the filter "title" has no counterpart'],
    ["{{ trigger.body.list | sort }}", 'the filter "sort"'],
    ["{{ trigger.body | to_json_string }}", 'the filter "to_json_string"'],
    ["{{ trigger.body.name | regex_replace('a', 'b') }}", 'the filter "regex_replace"'],
    ["{{ trigger.body | jsonpath_query('a') }}", 'the filter "jsonpath_query"'],
    ["{{ trigger.body.name | regex_match('(?=a)') }}", "the pattern"],
    ["{{ trigger.body.name | regex_match(trigger.body.n) }}", "must be a text"],
    ["{{ trigger.body.n % 2 }}", "Mod has no counterpart"],
    ["{{ trigger.body.n // 2 }}", "FloorDiv has no counterpart"],
    ["{{ trigger.body.n ** 2 }}", "Pow has no counterpart"],
    ["{{ trigger.body.name | constructor }}", 'the filter "constructor"'],
    ["{{ trigger.body.name.toString() }}", 'the method "toString"'],
    ["{{ trigger.body.name is hasOwnProperty }}", 'the test "hasOwnProperty"'],
    ["{{ now() }}", "the function now() has no counterpart"],
    ["{{ ''.__class__.mro() }}", 'the method "mro"'],
    ["{{ rule.name }}", '"rule" has no counterpart'],
    ["{{ action_context.user }}", '"action_context" has no counterpart'],
    ["{{ st2kv.user.token }}", "belongs to a user"],
    ["{{ st2kv.system.token | upper }}", "a key can be a whole value"],
    ["{{ st2kv.system }}", "needs the name of a key"],
    ["{{ st2kv.system.a['/'] }}", "needs another name"],
    ["{{ (1, 2) }}", "a tuple has no counterpart"],
    ["{{ trigger.body.n is divisibleby(2) }}", 'the test "divisibleby"'],
    ["{{ r/a/ }}", "a regular expression is no value"],
    ["{{ trigger.body.name | default }}{{ (1 + 2) | default('x') }}", "default applies to a path"],
    [`{{ ${"(".repeat(5_000)}1${")".repeat(4_000)} }}`, "nested too deeply"],
    [`{{ ${"not ".repeat(200)}1 }}`, "nested too deeply"],
    [`${"x".repeat(10_001)}{{ 1 }}`, "longer than 10000"],
  ])("%s", (source, reason) => {
    expect(() => templateOf(parse(source))).toThrow(Inexpressible);
    expect(() => templateOf(parse(source))).toThrow(reason);
  });
});

test("the shim has what the import takes it to have", () => {
  const script =
    "import json; from attune_st2 import template as t; print(json.dumps([list(t.FILTERS), list(t.METHODS), list(t.TESTS)]))";
  const output = execFileSync("python3", ["-B", "-c", script], { cwd: "src/author/st2/shim", encoding: "utf8" });
  expect(JSON.parse(output)).toEqual([shimNames.filter, shimNames.method, shimNames.test].map((names) => [...names]));
});

describe("values in a command line become variables", () => {
  test.each([
    ["echo {{ a }}", "echo $1"],
    ['echo "{{ a }} and {{ b }}"', 'echo "$1 and $2"'],
    ["echo 'it is {{ a }}'", `echo 'it is '"$1"''`],
    ["cp {{ a }} /tmp/{{ b }} && ls /tmp", "cp $1 /tmp/$2 && ls /tmp"],
    ["echo 'a' \"b\" {{ a }}", "echo 'a' \"b\" $1"],
    ["echo {{ 'constant' }} {{ a }}", "echo constant $1"],
    ["echo $(date {{ a }})", "echo $(date $1)"],
    ["echo plain `date` # '", "echo plain `date` # '"],
  ])("%s", (source, script) => {
    expect(scriptOf(shellTemplateOf(parse(source)), (number) => `$${number}`)).toBe(script);
  });

  test.each([
    ["{{ a }}", "is the name of a command"],
    ["true; {{ a }} x", "is the name of a command"],
    ['sudo "{{ a }}"', "is the name of a command"],
    ["echo x | {{ a }}", "is the name of a command"],
    ["sh -c 'echo {{ a }}'", "sh may run its arguments as code"],
    ["eval echo {{ a }}", "eval may run"],
    ["ssh host ls {{ a }}", "ssh may run"],
    ["awk '{{ a }}' file", "awk may run"],
    ["/usr/bin/python3 -c {{ a }}", "python3 may run"],
    ["echo $(({{ a }} + 1))", "a command line with (( cannot"],
    ["[[ {{ a }} -eq 1 ]]", "a command line with [[ cannot"],
    ["cat <<E\n{{ a }}\nE", "a command line with << cannot"],
    ["echo `ls {{ a }}`", "a command line with ` cannot"],
    [`echo $\{x:-{{ a }}}`, "a command line with"],
    ["echo \\{{ a }}", "follows an escape"],
    [`echo $${"{{ a }}"}`, "follows an escape"],
    ['echo "$(ls {{ a }})"', "$( in quotes"],
    ['echo "{{ a }}', "is not closed"],
    ["echo # {{ a }}", "in a comment"],
    ["echo {{ '; rm' }} {{ a }}", "characters of the shell"],
    ["echo {% if a %}'{% endif %}{{ b }}'", "in one branch"],
  ])("%s is refused", (source, reason) => {
    expect(() => shellTemplateOf(parse(source))).toThrow(reason);
  });
});
