// Node's own HTTP server with ioredis: the document of a path, as it is stored.
const http = require('http')
const Redis = require('ioredis')

const redis = new Redis(process.env.BENCH_REDIS_URL, { enableAutoPipelining: true })
http
  .createServer(async (request, response) => {
    const body = await redis.getBuffer(request.url.slice(1))
    if (body === null) {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': body.length }).end(body)
  })
  .listen(Number(process.argv[2]), '127.0.0.1')
