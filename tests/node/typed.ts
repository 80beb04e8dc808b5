// docs/node.md's lines, as `tsc --strict` must accept them.

import { InvalidRequest, NotEnqueued, Producer, Receipt, Sessions } from 'momentus-client'

async function assign(task: number): Promise<Receipt> {
  const producer = new Producer('redis://127.0.0.1:6379/0')
  try {
    await producer.send({ kind: 'invoice.send', payload: { order: 7 }, lane: 'invoices' })
    await producer.refresh('management')
    return await producer.sendMail(
      { to: 'ana@example.com', subject: 'Tarea asignada', text: 'Cierre' },
      { key: `task:${task}:assigned` },
    )
  } catch (error) {
    if (error instanceof InvalidRequest) console.log(error.field)
    if (error instanceof NotEnqueued) console.log('send it again with the same key')
    throw error
  } finally {
    await producer.close()
  }
}

async function whoIs(token: string): Promise<string | null> {
  const sessions = new Sessions('redis://127.0.0.1:6379/0')
  const session = await sessions.load(token)
  return session && session.user
}

void assign(1)
void whoIs('')
// @ts-expect-error  a mail needs a subject
void new Producer('redis://h').sendMail({ to: 'ana@example.com' })
