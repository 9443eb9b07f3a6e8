// TronWeb as a client of its own: one task from standard input, its answer on standard output.
// Usage: node tronweb.mjs DIRECTORY-THAT-HOLDS-node_modules  (with the task as JSON on stdin)
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const require = createRequire(join(resolve(process.argv[2]), "package.json"));
const { TronWeb } = require("tronweb");
const task = JSON.parse(readFileSync(0, "utf8"));
const web = new TronWeb({ fullHost: task.url, privateKey: task.key });
const from = web.address.fromPrivateKey(task.key);

async function build({ kind, to, amount, contract, token, memo, feeLimit, blockHeader }) {
  const builder = web.transactionBuilder;
  const options = blockHeader ? { blockHeader } : {};
  let made;
  if (kind === "TRX") made = await builder.sendTrx(to, amount, from, options);
  else if (kind === "TRC-10") made = await builder.sendToken(to, amount, token, from, options);
  else {
    const parameters = [
      { type: "address", value: to },
      { type: "uint256", value: amount },
    ];
    const call = { feeLimit, callValue: 0, txLocal: true, ...options };
    const wrapped = await builder.triggerSmartContract(
      contract, "transfer(address,uint256)", call, parameters, from);
    made = wrapped.transaction;
  }
  if (memo) made = await builder.addUpdateData(made, memo, "utf8", { txLocal: true });
  return made;
}

const tasks = {
  // Transactions built from fields, each with its reference block: no node is asked.
  async build() {
    const out = [];
    for (const one of task.payments) out.push(await web.trx.sign(await build(one), task.key));
    return out;
  },
  // The same with the node's own reference block, and sent.
  async send() {
    const out = [];
    for (const one of task.payments) {
      const signed = await web.trx.sign(await build(one), task.key);
      const answer = task.hex
        ? await web.trx.sendHexTransaction(hexOf(signed))
        : await web.trx.sendRawTransaction(signed);
      out.push({ txID: signed.txID, result: answer.result === true, code: answer.code ?? null });
    }
    return out;
  },
  async read() {
    const token = await web.contract().at(task.contract);
    const now = await web.trx.getCurrentBlock();
    const solid = await web.trx.getConfirmedCurrentBlock();
    const range = await web.trx.getBlockRange(now.block_header.raw_data.number - 2,
      now.block_header.raw_data.number);
    const answers = [];
    for (const txid of task.txids)
      answers.push({
        transaction: await web.trx.getTransaction(txid),
        info: await web.trx.getUnconfirmedTransactionInfo(txid),
      });
    return {
      answers,
      height: now.block_header.raw_data.number,
      solid: solid.block_header.raw_data.number,
      range: range.map((block) => block.block_header.raw_data.number),
      balance: await web.trx.getUnconfirmedBalance(task.to),
      token: String(await token.balanceOf(task.to).call()),
      decimals: Number(await token.decimals().call()),
      account: await web.trx.getUnconfirmedAccount(task.to),
      resources: await web.trx.getAccountResources(from),
      parameters: (await web.trx.getChainParameters()).length,
      weight: (await web.trx.getSignWeight(task.signed)).current_weight,
    };
  },
};

function hexOf(signed) {
  const { txJsonToPb } = require("tronweb").utils.transaction;
  const pb = txJsonToPb(signed);
  for (const one of signed.signature) pb.addSignature(Buffer.from(one, "hex").toString("base64"));
  return Buffer.from(pb.serializeBinary()).toString("hex");
}

try {
  console.log(JSON.stringify(await tasks[task.task]()));
} catch (error) {
  console.error(error);
  process.exit(1);
}
