// nodemailer with its pool: PORT CONNECTIONS COUNT; prints the seconds from the first mail to the last reply.
// The content is that of bench/mail_peers/content.py.

const nodemailer = require("nodemailer");

const [port, connections, count] = process.argv.slice(2).map(Number);
const ROWS = 38;

function text(number) {
  const lines = Array.from({ length: ROWS - 12 }, (_, row) => `${row + 1}. Cierre mensual, nodo ${row}`);
  return [`Hola, empleado ${number}:`, "", "Tienes tareas asignadas.", "", ...lines, ""].join("\n");
}

function html(number) {
  const rows = Array.from(
    { length: ROWS },
    (_, row) =>
      `<tr><td style="padding:4px">${row + 1}</td><td style="padding:4px">Cierre mensual, nodo ${row}</td>` +
      `<td style="padding:4px">30 de noviembre</td></tr>\n`,
  ).join("");
  return `<html><body><p>Hola, empleado ${number}:</p><table>\n${rows}</table></body></html>\n`;
}

function mail(number) {
  return {
    from: "no-reply@momentus.example",
    to: `empleado${String(number).padStart(7, "0")}@example.com`,
    subject: `Tarea asignada: revisión del cierre mensual ${number}`,
    text: text(number),
    html: html(number),
  };
}

async function main() {
  const transport = nodemailer.createTransport({
    pool: true,
    maxConnections: connections,
    maxMessages: Infinity,
    host: "127.0.0.1",
    port,
    secure: false,
    ignoreTLS: true,
  });
  const began = process.hrtime.bigint();
  let next = 0;
  const sender = async () => {
    while (next < count) await transport.sendMail(mail(next++));
  };
  await Promise.all(Array.from({ length: connections }, sender));
  console.log(Number(process.hrtime.bigint() - began) / 1e9);
  transport.close();
}

main();
