// BullMQ's own bulk call, a thousand at a time.
"use strict";
const { Queue } = require("bullmq");
const { connection, produce } = require("./contract.js");

const queue = new Queue("bench", { connection });

async function many(mails) {
  for (let first = 0; first < mails.length; first += 1000) {
    await queue.addBulk(mails.slice(first, first + 1000).map((data) => ({ name: "job", data })));
  }
}

produce((data) => queue.add("job", data), many).then(() => queue.close());
