// A small backend with Express, run by Node's cluster: log-in shared by all its processes, and a mail for each task.
//
//     node express_application.mjs REDIS_URL      prints the port that it listens on

import cluster from 'node:cluster'
import express from 'express'
import { Producer, Sessions } from 'momentus-client'

if (cluster.isPrimary) {
  cluster.schedulingPolicy = cluster.SCHED_RR
  cluster.fork()
  cluster.fork()
  let listening = 0
  cluster.on('listening', (_, address) => {
    listening += 1
    if (listening === 2) console.log(address.port)
  })
} else {
  const producer = new Producer(process.argv[2], { budgetMs: 5000 })
  const sessions = new Sessions(process.argv[2], { deadlineMs: 5000 })
  const app = express()
  app.use(express.json())
  app.post('/login', async (request, response) => {
    const { token } = await sessions.create(request.body.user, { roots: [17] })
    response.json({ token, pid: process.pid })
  })
  app.post('/tasks', async (request, response) => {
    const session = await sessions.load((request.get('authorization') || '').replace('Bearer ', ''))
    if (!session) return response.status(401).json({ pid: process.pid })
    const receipt = await producer.sendMail(
      { to: 'ana@example.com', subject: `Tarea ${request.body.task}`, text: `De ${session.user}` },
      { key: `task:${request.body.task}` },
    )
    return response.json({ ...receipt, pid: process.pid })
  })
  app.listen(0, '127.0.0.1')
}
