"""What to look at and what to do, a paragraph an alarm code: the runbook of docs/operations.md.

A code of `core.alarms` without a paragraph here fails the tests. Markdown; commands are written
without `--config FILE --reason TEXT`, which every one of them takes.
"""

from __future__ import annotations

RUNBOOK: dict[str, str] = {
    "worker_failing": (
        "The subject is the loop (`watcher main`, `consumer USDT`, `courier` …), the message "
        "its last error. It is tried again after 0.2 s, then twice as long each time, up to 30 "
        "s. A database error (`disk full`, `locked`) stops every loop alike: look at the disk "
        "first. Nothing is skipped: each step reads anew what it needs. If `herald` itself is "
        "named, the webhook does not answer, and this console is the only place where you see "
        "it."
    ),
    "platform_unreachable": (
        "Raised when one message in a lane failed five times in a row, or when the questions "
        "for withdrawals or addresses fail. `chain-adapter check` tells which of network, TLS "
        "pin, app_id, RSA key or code it is. Messages wait in the outbox in order and are "
        "repeated for ever: a deposit is credited late, a withdrawal is claimed late, nothing "
        "is lost. A code 1000013 or 100008 after a change of keys at the platform means that "
        "our key file is the old one."
    ),
    "node_unreachable": (
        "No endpoint of the chain answers, or each serves another network, branch or checkpoint "
        "than the pinned one; the message names each and why. Reading goes on at the same "
        "block. While it lasts, deposits are late, payments that were sent wait to be seen, and "
        "users' withdrawals queue; a full page of them that does not move for `window_s` sends "
        'its oldest back, so set `hold_limit = "never"` before a long planned outage.'
    ),
    "endpoints_differ": (
        "The message lists every endpoint with the hash it shows. Compare that height with a "
        "public explorer or a third node. Remove the one that is wrong from `endpoints` (or "
        "mend it), restart, then `chains resume NAME`: deposits held for the pause are "
        "confirmed. If it was ours that everybody else contradicts, the daemon pops its own "
        "blocks by itself once the others are reachable. With three endpoints and `quorum = 2` "
        "one liar no longer stops you."
    ),
    "endpoint_outvoted": (
        "More than half of the endpoints agree with what we read, the named one does not. "
        "Crediting goes on. A node that follows a minority branch after an upgrade looks like "
        "this: check its version. The alarm closes as soon as it agrees again."
    ),
    "endpoint_missing": (
        "The message names who did not show the block, or who could not read it again. For "
        "`alone_after` (30 s by default) nothing is credited; then those that answer decide, "
        "and the second look is made by another method at the same endpoint. Where that is not "
        'enough for you, set `alone_after = "never"`: crediting then waits for as long as it '
        "takes. A lagging node is told in the same way: it does not have the block yet."
    ),
    "readings_differ": (
        "Either an endpoint left something out (a lagging log index does so without an error) "
        "or it showed something that is not there. What the two readings disagree about is HELD "
        'as "second look"; what only the second saw is taken up and read a third time. Look '
        "each transaction up at a third source. `deposits release ID` credits what is right, "
        "`deposits ignore ID` drops what is not. An endpoint that is named twice in a week is "
        "to be replaced."
    ),
    "deep_reorg": (
        "A final block was replaced, or more blocks than `reorg_limit`. The chain is paused: it "
        "is read, nothing is credited or signed. `deposits list --state REVERSED` are credits "
        "whose transaction is gone: the platform has no call that takes them back, so tell it "
        "by hand, with the list. Payments that lost their block are sent again, the same bytes, "
        "by themselves. Find out whether the chain or your node did it (two independent "
        "explorers), raise `confirmations` if it was the chain, then `chains resume NAME`. If "
        "it went below the oldest block kept: `rescan` first."
    ),
    "deposit_held": (
        "`deposits list --state HELD` shows the reason, `why TXID` the rule. *proof refuted*: "
        "the token took a fee or the event lied; the asset is paused too; never release it "
        "before you know the balance. *second look*: see `readings_differ`. *memo missing* or "
        "*cannot be passed on*: the platform cannot know the user; ask support, then release or "
        "ignore. *paused* is ended by `chains resume` or `assets resume`."
    ),
    "deposit_reversed": (
        "It was confirmed, perhaps credited, and its transaction is on no block of the chain "
        "any more. If it comes back with the same amount, the alarm closes and nothing is told "
        "twice. If it was CREDITED (`why TXID`), the platform's user has money that does not "
        "exist: tell the platform at once. Acknowledge when that is done."
    ),
    "late_find": (
        "A rescan or a later reading found more value under a deposit that the platform knows "
        "already. `inbox list` has the difference. There is no call that raises a credited "
        "deposit, so it is settled with the platform by hand; then `inbox dismiss ID`, which "
        "closes this."
    ),
    "order_changed": (
        "The same trans_id came with another amount, address or memo; the message has both. "
        "Neither is paid. Ask the platform which is right. If the old one is: `payouts release "
        "ID`. If the new one is, or nobody knows: `payouts refuse ID`, and let the user order "
        "again. A platform account that was broken into looks like this."
    ),
    "order_bad": (
        "A row of the list has a field missing or of a wrong type. The others of that answer "
        "were taken. The row stays listed and takes one of the twenty places, so have the "
        "platform withdraw it; closes with the first answer that can be read as a whole."
    ),
    "payout_held": (
        "The reason stands in the message: an operator's hold, the first page of a new ledger "
        "(`payouts release --first`), changed content, a refusal of the signer, a cancel that "
        "the platform did not take. `why TRANS_ID` tells what happens after a release. Held "
        "ones are never sent back by themselves; ten of them in the platform's page raise "
        "`window_full`."
    ),
    "hot_wallet_short": (
        "Send funds to the hot address (`addresses list --role hot`); the message names the "
        "asset, which for tokens may be the coin that pays the fees. Smaller withdrawals that "
        "can be paid go on. What waits longer than `hold_limit` goes back to its user. If "
        "deposits should have filled it, look at `treasury plan` and at `gas_short`."
    ),
    "gas_short": (
        "Token deposits lie on users' addresses and need the main coin to be moved. Send some "
        "to the gas address (`addresses list --role gas`). No user waits for this; the hot "
        "wallet may run dry later."
    ),
    "hot_below_floor": (
        "An early warning by your own `hot_floor`: withdrawals are paid still. Fund the hot "
        "address, or let collections bring it; closes when the balance is above the floor "
        "again."
    ),
    "fee_above_cap": (
        "`fee_cap` bounds what one transaction may cost, in the main coin. Wait for fees to "
        "fall, or raise it and restart: what was sent already is replaced with a higher fee "
        "under the same nonce, never beside it. A cap that is far above the usual fee protects "
        "nothing."
    ),
    "claim_failing": (
        "The platform answers other calls but not this claim, and every later payment of the "
        "same account waits behind it. `outbox list` has code and text. If the order is wrong "
        "at the platform, `payouts refuse ID` voids its locks and lets the others pass; a claim "
        "is never skipped."
    ),
    "claim_not_heard": (
        "An acknowledged claim does not take the order off the list. It is repeated by itself. "
        "If it comes again and again, two environments of the platform may share an app_id, or "
        "a proxy answers in its place: compare with what the platform sees."
    ),
    "claim_refused": (
        "Usually the user took the withdrawal back between our reading and our claim. Nothing "
        "was broadcast; the locks are burnt by a void so that the account goes on, which costs "
        "a fee that is told as internal. Closes when it is refused for good. Many of them in an "
        "hour: somebody else claims our orders, a second adapter perhaps."
    ),
    "outbox_parked": (
        "Refused after 1 s, 2, 8, 32 and 128 min. The code tells: 1000011 and 1000012 a deposit "
        "told with other content before, 1000017 an address or memo that the platform does not "
        "know (was it registered from another database?), 1000018 an order that is over. Mend "
        "it at the platform, then `outbox retry ID`. A parked deposit is not credited."
    ),
    "paid_not_accepted": (
        "The money has left and is final; the platform does not take our word. `why TRANS_ID` "
        "has txid and code. Send both to the platform. It is told again by the schedule and "
        "ends by itself if accepted; else two operators `payouts settle ID --evidence FILE`. "
        "Never pay it again."
    ),
    "foreign_use": (
        "Critical until proven harmless: an address of ours signed something that neither "
        "database nor journal knows. Another program with the same keys? A test by a colleague? "
        "If nobody can explain it: kill switch, and the runbook *a hot key has leaked* in "
        "docs/security.md. `alarms ack ID` says that a person answers for it: the account signs "
        "again."
    ),
    "malleated": (
        "Somebody changed the form of our signed transaction on its way; recipients and amounts "
        "are ours. The new txid is told to the platform. Acknowledge it."
    ),
    "payment_failed": (
        "It is in a final block and moved nothing: out of gas, a recipient contract that "
        "refuses, a frozen token account. One new attempt is made by itself if a dry run "
        "passes; after a second failure it is held. Then `payouts settle` with the platform, "
        "for a claimed withdrawal cannot be given back."
    ),
    "journal_lacks": (
        "The journal beside the keystore is older than the database: somebody restored it. Stop "
        "the daemon, put the newest journal back. If it is lost, nothing may be signed for "
        "those payouts until every open nonce is voided or expired; see *The journal is gone* "
        "in docs/security.md."
    ),
    "credit_limit": (
        "A deposit above the policy's limits on credits. Look at it as an investigator would "
        "(who, how, is the transaction real at a second explorer). An operator's approval lets "
        "it pass, or the window does. The user waits meanwhile; nothing is lost."
    ),
    "approval_needed": (
        "`payouts approve ID` prints the text for the operators' SSH keys. What waits takes no "
        "nonce and holds up nobody, but it keeps a place in the platform's page of twenty. At "
        "`hold_limit` it goes back to its user."
    ),
    "policy_limit": (
        "The message names limit and sum. A limit per hour or day frees itself; one per "
        "transaction never does, so the withdrawal goes back at `hold_limit` unless operators "
        "`policy propose` another policy and approve it."
    ),
    "signing_stopped": (
        "Somebody threw the kill switch (command, signal or file; the signer's log says when "
        "and why). Deposits are read and credited within the limits, nothing is signed. "
        "`chain-adapter resume` needs as many operators as the policy says. Withdrawals queue; "
        "mind `hold_limit`."
    ),
    "signing_refused": (
        "The signer compared intent, effect, warrant, journal, network and policy, and one does "
        "not fit. The text says which. A refusal over `effect` or `warrant` is either a bug or "
        "a break-in: keep the logs, do not release. With subject `prove:NAME` the nightly proof "
        "failed: an address of the pool is not ours to sign for; stop registering (`chains "
        "pause`) and find out why."
    ),
    "window_full": (
        "The platform shows twenty withdrawals at a time; ten or more of them wait, and the "
        "message counts for what. Fund the hot wallet, approve, refuse or release. From twenty "
        "on nothing else is seen: after `window_s` (60 s) without movement the oldest that no "
        'person holds goes back to its user, then the next. With `hold_limit = "never"` none '
        "goes back, and `/health/ready` is 503."
    ),
    "pool_mismatch": (
        "Addresses were registered that this database does not know: it is an older copy, or "
        "another database has the same keys. Users may pay to them unseen. Stop the daemon; "
        "`recover` derives them again and reads the blocks since."
    ),
    "register_refused": (
        "The pool does not fill, and new users get no address once it is empty (`status`, "
        "pool). 1000014: a memo coin has its one address already; 1000015: a token was "
        "configured as main coin; 100002 at 5,000: the pool is full for the platform; `probe` "
        "finds its limit."
    ),
    "reconciliation": (
        "`reconcile --day DAY --json` lists each difference with its subject. Begin with money "
        "that left without a payout, then with credits without a deposit. The books are never "
        "changed by this; the alarm closes when the same day reconciles clean."
    ),
    "recover_needed": (
        "The keys have a journal, the database is new: a volume was not mounted, or a path is "
        "wrong. Look for the old database before you do anything else. Only if it is lost: "
        "`recover`. Until then the chain is read, and nothing is credited or signed."
    ),
    "unlisted_deposit": (
        "Users pay an asset that you have switched off. Tell them, or list it again. `inbox "
        "list` has each; `deposits release` credits one, `inbox dismiss` leaves it for good."
    ),
    "imported_listed": (
        "At the cut-over this withdrawal was imported as paid by the old system, but the "
        "platform still hands it out: the old system never reported it. Give the platform the "
        "txid of the message. It is never paid by us."
    ),
}
