-- The requests of wrk: GETs with one token after the other. Prints the outcome as JSON. Argument: a file with a token per line.

local requests, turn = {}, 0

function init(args)
  for token in io.lines(args[1]) do
    local headers = token ~= '' and { authorization = 'Bearer ' .. token } or {}
    table.insert(requests, wrk.format('GET', nil, headers))
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"rejected":%d,"unanswered":%d}\n',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout
  ))
end
