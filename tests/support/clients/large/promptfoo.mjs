// promptfoo, the command: an evaluation of chat completions and of responses, each held against what it expects.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [url, key] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "promptfoo-"));
const file = (name) => join(folder, name);
const config = { apiBaseUrl: `${url}/v1`, apiKey: key };
const evaluation = {
  prompts: ["{{word}}"],
  providers: ["chat", "responses"].map((api) => ({ id: `openai:${api}:clerk`, config })),
  tests: [{ vars: { word: "apple" }, assert: [{ type: "equals", value: "apple" }] }],
};
const quiet = { PROMPTFOO_DISABLE_TELEMETRY: "1", PROMPTFOO_DISABLE_UPDATE: "1", PROMPTFOO_CONFIG_DIR: folder };
try {
  writeFileSync(file("evaluation.json"), JSON.stringify(evaluation));
  const command = join(dirname(fileURLToPath(import.meta.url)), "node_modules", ".bin", "promptfoo");
  const words = ["eval", "-c", file("evaluation.json"), "-o", file("found.json"), "--no-cache", "--no-write"];
  execFileSync(command, words, { env: { ...process.env, ...quiet }, stdio: ["ignore", 2, 2] });
  const { stats } = JSON.parse(readFileSync(file("found.json"))).results;
  console.log(JSON.stringify({ passed: stats.successes, failed: stats.failures + stats.errors }));
} finally {
  rmSync(folder, { recursive: true });
}
