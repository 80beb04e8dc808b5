// Calls of a server that accepts and never replies: each must fail within its budget, and the next ones too.

import { Producer } from 'momentus-client'

const producer = new Producer(process.argv[2], { budgetMs: 100 })
const told = []
for (let n = 0; n < 3; n++) {
  const began = process.hrtime.bigint()
  try {
    await producer.send({ kind: 'note.take' }, { key: 'same' })
    told.push('sent')
  } catch (error) {
    told.push(`${error.name} ${Number(process.hrtime.bigint() - began) / 1e6 < 2000 ? 'in time' : 'late'}`)
  }
}
console.log(JSON.stringify(told))
await producer.close()
