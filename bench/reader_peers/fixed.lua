-- wrk: all documents in turn, each request formatted once. BENCH_PATH has a %d; BENCH_TOKENS names a file of tokens.
local tokens = {}
for token in io.lines(os.getenv('BENCH_TOKENS')) do
  tokens[#tokens + 1] = token
end
local requests, at = {}, 0

init = function()
  for number = 1, 700 do
    local headers = {}
    if #tokens > 0 then
      headers['Authorization'] = 'Bearer ' .. tokens[number % #tokens + 1]
    end
    requests[number] = wrk.format('GET', string.format(os.getenv('BENCH_PATH'), number), headers)
  end
end

request = function()
  at = at % 700 + 1
  return requests[at]
end
