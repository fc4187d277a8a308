-- What wrk sends and says: log-ins of accounts at random, each from an address of its own; as JSON when each was answered
-- (ms since the epoch), and with which status; 0 and 0 for each connection that broke. What is under way at the end does
-- not count.
-- Arguments: the group of the accounts, how many there are, their password, the second number of the addresses.

local ffi = require('ffi')
ffi.cdef('typedef struct { long seconds; long micros; } timeval; int gettimeofday(timeval *now, void *zone);')

local group, accounts, password, network, thread
local addresses, now = 0, ffi.new('timeval')

function setup(self)
  thread = self
end

function init(args)
  group, accounts, password, network = args[1], tonumber(args[2]), args[3], args[4]
  math.randomseed(os.time())
  answers = {}
end

function request()
  addresses = addresses + 1
  local body = string.format('{"email":"%s-%d@example.org","password":"%s"}', group, math.random(accounts), password)
  return wrk.format('POST', nil, {
    ['content-type'] = 'application/json',
    ['x-forwarded-for'] = string.format('10.%s.%d.%d', network, math.floor(addresses / 256) % 256, addresses % 256)
  }, body)
end

function response(status)
  ffi.C.gettimeofday(now, nil)
  table.insert(answers, string.format('[%.3f,%d]', tonumber(now.seconds) * 1e3 + tonumber(now.micros) / 1e3, status))
end

function done(summary)
  local all, errors = thread:get('answers'), summary.errors
  for _ = 1, errors.connect + errors.read + errors.write do table.insert(all, '[0,0]') end
  io.write('\n[', table.concat(all, ','), ']\n')
end
