-- What wrk sends and says: GETs that carry one of many tokens after the other; the outcome as JSON.
-- Arguments: a file with a token on each line, how long a connection pauses between requests (ms), the percentiles.

local requests, turn, thread = {}, 0, nil

function setup(self)
  thread = self
end

function init(args)
  for token in io.lines(args[1]) do
    local headers = token ~= '' and { authorization = 'Bearer ' .. token } or {}
    table.insert(requests, wrk.format('GET', nil, headers))
  end
  local pause = tonumber(args[2])
  if pause > 0 then
    -- Not in step: half as long to half as long again.
    math.randomseed(os.time())
    function delay() return pause * (0.5 + math.random()) end
  end
  -- Looking at each answer costs wrk too much where it is to send as much as it can.
  statuses = {}
  if pause > 0 then
    function response(status) statuses[status] = (statuses[status] or 0) + 1 end
  end
  wanted = args[3]
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

local function object(pairs_of)
  local fields = {}
  for name, value in pairs(pairs_of) do
    table.insert(fields, string.format('"%s":%.14g', name, value))
  end
  return '{' .. table.concat(fields, ',') .. '}'
end

function done(summary, latency)
  local latencies = { ['100'] = latency.max / 1000 }
  for percentile in string.gmatch(thread:get('wanted'), '[^,]+') do
    latencies[percentile] = latency:percentile(tonumber(percentile)) / 1000
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"refused":%d,"unanswered":%d,"latenciesMs":%s,"statuses":%s}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    object(latencies), object(thread:get('statuses'))
  ))
end
