// Compiles contracts/Devnet.sol and prints {name: creation bytecode}.
// Usage: node scripts/compile_contracts.mjs [directory that holds node_modules/solc]
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const solc = createRequire(join(resolve(process.argv[2] ?? process.cwd()), "package.json"))("solc");
const source = readFileSync(join(here, "..", "contracts", "Devnet.sol"), "utf8");
const settings = {
  evmVersion: "istanbul",
  optimizer: { enabled: true, runs: 200 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
  outputSelection: { "*": { "*": ["evm.bytecode.object"] } },
};
const sources = { "Devnet.sol": { content: source } };
const made = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
const wrong = (made.errors ?? []).filter((one) => one.severity === "error");
if (wrong.length) throw new Error(wrong.map((one) => one.formattedMessage).join("\n"));
const codes = Object.entries(made.contracts["Devnet.sol"])
  .map(([name, one]) => [name, one.evm.bytecode.object])
  .filter(([, code]) => code);
console.log(JSON.stringify(Object.fromEntries(codes)));
