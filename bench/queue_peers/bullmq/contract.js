// The contract of contract.py in JavaScript; process.hrtime is CLOCK_MONOTONIC, as Python's monotonic_ns.
"use strict";
const fs = require("node:fs");
const { setTimeout: sleep } = require("node:timers/promises");

const WIDTH = 8;
const CHUNK = 20_000;
const SHORTEST_REST_MS = 10;
const JOB_MS = Number(process.env.BENCH_JOB_SECONDS || 0) * 1000;
const address = new URL(process.env.BENCH_REDIS_URL);
const connection = {
  host: address.hostname,
  port: Number(address.port),
  password: decodeURIComponent(address.password) || undefined,
};

function mail(number) {
  const digits = String(number).padStart(7, "0");
  return {
    to: `empleado${digits}@example.com`,
    subject: "Tarea asignada: cierre mensual de noviembre",
    template: "task_assigned",
    language: "es",
    message_id: `<${digits}.019a0b1c5d2e7f30@mail.example.com>`,
    task: "Cierre mensual de noviembre, sucursal Norte",
    due: "30 de noviembre",
    link: `https://app.example.com/empresa/tareas/${digits}`,
  };
}

function octets(nanoseconds) {
  const eight = Buffer.alloc(WIDTH);
  eight.writeBigInt64LE(nanoseconds);
  return eight;
}

let stamps;
function announce() {
  stamps = fs.openSync(process.env.BENCH_STAMPS, "a", 0o600);
}

async function job() {
  fs.writeSync(stamps, octets(process.hrtime.bigint()));
  if (JOB_MS) await sleep(JOB_MS);
}

function started() {
  return fs.existsSync(process.env.BENCH_STAMPS) ? fs.statSync(process.env.BENCH_STAMPS).size / WIDTH : 0;
}

async function timed(call) {
  const began = process.hrtime.bigint();
  await call();
  return process.hrtime.bigint() - began;
}

const modes = {
  async one(one, _many, count) {
    await one(mail(0));
    const took = [];
    for (let number = 1; number <= count; number++) {
      const content = mail(number);
      took.push(await timed(() => one(content)));
    }
    return took;
  },
  async bulk(_one, many, count) {
    let took = 0n;
    for (let first = 0; first < count; first += CHUNK) {
      const mails = Array.from({ length: Math.min(CHUNK, count - first) }, (_, place) => mail(first + place));
      took += await timed(() => many(mails));
    }
    return [took];
  },
  async idle(one, _many, count, restMs) {
    const sent = [];
    for (let number = 0; number <= count; number++) {
      await sleep(SHORTEST_REST_MS + Math.random() * restMs);
      sent.push(process.hrtime.bigint());
      await one(mail(number));
      while (started() <= number) await sleep(2);
    }
    return sent.slice(1);
  },
};

async function produce(one, many) {
  const [mode, count, out, rest] = process.argv.slice(2);
  const figures = await modes[mode](one, many, Number(count), Number(rest) * 1000);
  fs.writeFileSync(out, Buffer.concat(figures.map(octets)));
}

module.exports = { announce, connection, job, produce };
