-- wrk: requests as many browsers send them; hardly any two are the same bytes. Each is of one of the browsers in the
-- file BENCH_BROWSERS (see browsers.py), for one of 700 documents, with no condition, one that holds or one that does
-- not, in thirds. BENCH_PATH has a %d; BENCH_SEED is a number: the same one brings the same requests.
local browsers = {}
for line in io.lines(os.getenv('BENCH_BROWSERS')) do
  local before, after = line:gsub('\31', '\r\n'):match('^(.*)\30(.*)$')
  browsers[#browsers + 1] = { before = before, after = after .. '\r\n' }
end
local paths = {}
for number = 1, 700 do
  paths[number] = 'GET ' .. string.format(os.getenv('BENCH_PATH'), number) .. ' HTTP/1.1\r\n'
end
local random, format = math.random, string.format
math.randomseed(tonumber(os.getenv('BENCH_SEED')))

request = function()
  local browser, number, kind = browsers[random(#browsers)], random(700), random(3)
  local condition = ''
  if kind == 1 then
    condition = format('If-None-Match: W/"%016x"\r\n', number)
  elseif kind == 2 then
    condition = format('If-None-Match: W/"%08x%08x"\r\n', random(2147483647), random(2147483647))
  end
  return paths[number] .. browser.before .. condition .. browser.after
end
