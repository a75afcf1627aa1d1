-- Says what changed in shards since they were last looked at. Writes nothing.
--
-- KEYS  sorted sets of names by the time of their newest notice. The first member of each, at zero, is no name: it tells
--       whether the set is still the one that was looked at.
-- ARGV  1 how many names a set remembers; then for each set its first member as it was known, and the time of the newest name
-- Answers: for each set a code, its first member, the time of its newest name, and the names that came since

local MAX_CHANGES = tonumber(ARGV[1])
local SAME, CHANGED, RESTART = 0, 1, 2

local answers = {}
for i, key in ipairs(KEYS) do
  local known, seen = ARGV[2 * i], ARGV[2 * i + 1]
  local first = redis.call('ZRANGE', key, 0, 0)[1] or ''
  local newest = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2] or '0'
  local code, names = RESTART, {}
  if first == known and newest == seen then
    code = SAME
  elseif (first == known or known == '') and tonumber(newest) >= tonumber(seen) then
    local oldest = redis.call('ZRANGE', key, 1, 1, 'WITHSCORES')[2] or '0'
    local is_whole = redis.call('ZCARD', key) <= MAX_CHANGES or tonumber(oldest) <= tonumber(seen)
    if is_whole then
      code, names = CHANGED, redis.call('ZRANGEBYSCORE', key, '(' .. seen, '+inf')
    end
  end
  table.insert(answers, {code, first, newest, names})
end
return answers
