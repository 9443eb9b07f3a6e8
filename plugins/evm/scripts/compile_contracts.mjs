// Compiles contracts/Devnet.sol and prints {"solc": version, "contracts": {name: bytecode}}.
// Usage: node scripts/compile_contracts.mjs [directory that holds node_modules/solc]
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(join(resolve(process.argv[2] ?? process.cwd()), "package.json"));
const solc = require("solc");
const source = readFileSync(join(here, "..", "contracts", "Devnet.sol"), "utf8");
const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources: { "Devnet.sol": { content: source } },
      settings: {
        evmVersion: "london",
        optimizer: { enabled: true, runs: 200 },
        metadata: { appendCBOR: false, bytecodeHash: "none" },
        outputSelection: { "*": { "*": ["evm.bytecode.object"] } },
      },
    }),
  ),
);
const errors = (output.errors ?? []).filter((one) => one.severity === "error");
if (errors.length) {
  console.error(errors.map((one) => one.formattedMessage).join("\n"));
  process.exit(1);
}
const contracts = {};
for (const [name, made] of Object.entries(output.contracts["Devnet.sol"]))
  if (made.evm.bytecode.object) contracts[name] = made.evm.bytecode.object;
console.log(JSON.stringify({ solc: solc.version(), contracts }));
