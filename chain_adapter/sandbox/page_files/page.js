// Fetches /sandbox/view when /sandbox/feed says that something has changed, and draws it anew.
"use strict";

const WHO = ["chain", "daemon", "platform", "merchant"];
const by = (id) => document.getElementById(id);
const drafts = new Map(); // what is being typed into a card survives its redrawing

function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") node.textContent = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function say(text, bad = false) {
  by("said").textContent = text;
  by("said").className = bad ? "bad" : "";
}

async function call(path, fields) {
  const options = fields ? { method: "POST", body: JSON.stringify(fields) } : {};
  const answer = await fetch(`/sandbox/${path}`, options);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

async function act(button, work) {
  button.disabled = true;
  try {
    say(await work());
  } catch (error) {
    say(error.message, true);
  } finally {
    button.disabled = false;
  }
}

function coins(select, list, choice) {
  const had = select.value;
  const wanted = list.map(choice);
  if (wanted.join() !== [...select.options].map((one) => one.text).join()) {
    select.replaceChildren(...list.map((one, at) => make("option", { value: one.symbol, text: wanted[at] })));
    if (list.some((one) => one.symbol === had)) select.value = had;
  }
}

function place(user, one, view) {
  const whole = one.memo ? `${one.address} memo ${one.memo}` : one.address;
  const paid = view.coins.filter((coin) => coin.main_symbol === one.symbol && view.sendable.includes(coin.symbol));
  const right = make("div", {}, make("div", { text: one.symbol }), make("code", { text: whole, class: "address" }));
  if (paid.length) {
    const key = `${user.user}/${one.symbol}/${one.address}`;
    const symbol = make("select", { "aria-label": "coin" }, ...paid.map((coin) => make("option", { text: coin.symbol })));
    const amount = make("input", { size: "6", value: drafts.get(key) ?? "1", "aria-label": "amount" });
    amount.addEventListener("input", () => drafts.set(key, amount.value));
    const button = make("button", { text: "Send me a coin", class: "send" });
    right.append(make("form", { on: { submit: (event) => {
      event.preventDefault();
      const fields = { symbol: symbol.value, address: one.address, amount: amount.value, memo: one.memo };
      act(button, async () => `sent: ${(await call("send", fields)).txid}`);
    } } }, symbol, amount, button));
  }
  const qr = make("img", { src: `/pages/qr/${encodeURIComponent(one.address)}`, alt: `QR code of ${one.address}` });
  return make("div", { class: "place" }, qr, right);
}

function person(user, view) {
  const balances = Object.entries(user.balances).map(([symbol, amount]) =>
    make("span", { class: "balance", text: `${amount} ${symbol}` }));
  return make("article", { class: "card user", "data-user": user.user },
    make("h3", { text: `User ${user.user} ` }, make("small", { text: user.name })),
    ...balances, ...user.addresses.map((one) => place(user, one, view)));
}

function clock(at) {
  const date = new Date(at * 1000);
  return `${date.toLocaleTimeString([], { hour12: false })}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function life(one) {
  const steps = make("ul", { class: "steps" }, ...WHO.map((who) => make("li", { class: `head ${who}`, text: who })));
  for (const [at, step] of one.steps.entries()) {
    const mood = step.ok === null ? "due" : step.ok ? "" : "no";
    const item = make("li", { class: `${step.who} ${mood}`, title: step.detail },
      make("time", { text: clock(step.at) }), document.createTextNode(step.what));
    item.style.gridRow = at + 2;
    steps.append(item);
  }
  return make("article", { class: "card life", "data-name": one.name },
    make("header", {},
      make("span", { class: "amount", text: `${one.amount} ${one.symbol}` }),
      make("span", { class: "state", text: one.state }),
      make("span", { class: "to", text: `to ${one.address}` }),
      make("span", { class: "name", text: one.name })),
    steps);
}

function fill(id, list, draw) {
  by(id).replaceChildren(...(list.length ? list.map(draw) : [make("p", { class: "none", text: "none yet" })]));
}

function draw(view) {
  const typing = document.activeElement?.closest("#users");
  coins(by("coin"), view.coins, (coin) => `${coin.symbol} (${coin.unused} unused)`);
  coins(by("pay-coin"), view.coins, (coin) => coin.symbol);
  if (!typing) fill("users", view.users, (user) => person(user, view));
  fill("deposits", view.deposits, life);
  fill("withdrawals", view.withdrawals, life);
}

let fetching = false;
let again = false;
async function refresh() {
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  try {
    draw(await call("view"));
  } catch (error) {
    say(error.message, true);
  }
  fetching = false;
  if (again) {
    again = false;
    setTimeout(refresh, 100);
  }
}

by("new-user").addEventListener("submit", (event) => {
  event.preventDefault();
  act(event.submitter, async () => {
    const made = await call("users", { symbol: by("coin").value });
    return `user ${made.user}: ${made.address} ${made.memo}`;
  });
});

by("new-withdrawal").addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = Object.fromEntries(new FormData(event.target));
  act(event.submitter, async () => `ordered: trans_id ${(await call("withdrawals", fields)).trans_id}`);
});

const feed = new EventSource("/sandbox/feed");
feed.addEventListener("open", () => { by("live").textContent = "live"; by("live").className = "on"; refresh(); });
feed.addEventListener("error", () => { by("live").textContent = "not connected"; by("live").className = ""; });
feed.addEventListener("changed", refresh);
document.addEventListener("focusout", () => setTimeout(refresh, 0));
