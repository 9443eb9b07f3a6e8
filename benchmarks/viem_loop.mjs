// The loop that viem's documentation leads to: blocks with transactions, and their logs.
// node benchmarks/viem_loop.mjs URL BLOCKS
import { createPublicClient, http, parseAbiItem } from "viem";
import { mainnet } from "viem/chains";

const [url, blocks] = [process.argv[2], Number(process.argv[3])];
const client = createPublicClient({ chain: mainnet, transport: http(url) });
const event = parseAbiItem(
  "event Transfer(address indexed from, address indexed to, uint256 value)",
);
const ours = new Set();
const began = process.hrtime.bigint();
const used = process.cpuUsage();
let found = 0;
for (let height = 1; height <= blocks; height++) {
  const block = await client.getBlock({
    blockNumber: BigInt(height),
    includeTransactions: true,
  });
  const logs = await client.getLogs({ blockHash: block.hash, event });
  for (const one of block.transactions) {
    if (one.to && ours.has(one.to.toLowerCase()) && one.value) found++;
  }
  for (const log of logs) {
    if (ours.has(log.args.to?.toLowerCase())) found++;
  }
}
const now = process.cpuUsage(used);
console.log(
  JSON.stringify({
    wall: Number(process.hrtime.bigint() - began) / 1e9,
    cpu: (now.user + now.system) / 1e6,
    found,
  }),
);
