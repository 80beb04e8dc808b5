// BullMQ with its defaults.
"use strict";
const { Worker } = require("bullmq");
const { announce, connection, job } = require("./contract.js");

announce();
const worker = new Worker("bench", job, { connection, concurrency: 100 });
worker.on("error", (error) => console.error(error.message));
