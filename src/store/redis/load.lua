-- Reads records, each by itself: what is wrong with one is no reason to know nothing of the others. Writes nothing.
--
-- KEYS  records
-- ARGV  1 the largest record  2 the largest version
-- Answers: microseconds, then for each key a code, its version, its record or what is wrong with it, and its size

local LARGEST, LATEST = tonumber(ARGV[1]), tonumber(ARGV[2])
local NOTHING, RECORD, FOREIGN, TOO_LARGE, REFUSED = 0, 1, 2, 3, 4

local time = redis.call('TIME')
local answers = {time[1] * 1e6 + time[2]}
local function answer(code, version, record, size)
  table.insert(answers, {code, version, record, size})
end

for _, key in ipairs(KEYS) do
  local size = redis.pcall('HSTRLEN', key, 'r')
  if type(size) == 'table' and size.err then
    answer(string.find(size.err, 'WRONGTYPE', 1, true) and FOREIGN or REFUSED, 0, size.err, 0)
  elseif size > LARGEST then
    answer(TOO_LARGE, 0, '', size)
  else
    local held = redis.call('HMGET', key, 'v', 'r')
    local version = tonumber(held[1] or '0')
    if not held[1] and redis.call('EXISTS', key) == 0 then
      answer(NOTHING, 0, '', 0)
    elseif not held[1] or not version or version < 0 or version > LATEST then
      answer(FOREIGN, 0, '', 0)
    else
      answer(RECORD, version, held[2] or '', size)
    end
  end
end
return answers
