-- The only write there is, as one atomic step. Needs Redis 5, or any Valkey.
--
-- KEYS  1 record: hash of v version, r record, l end of the lease in ms, c token, and for people s state, f failures,
--         u open until, e generation
--       2 outbox: list of writer:seq:delta, in the order in which they were accepted
--       3 4 last batch of each writer: hashes, one for each of two generations, `#` says which
--       5 what changed in the shard, of late: sorted set of names by the time of their newest notice
-- ARGV  1 name  2 channel  3 expected version  4 record  5 state  6 failures  7 open until  8 generation  9 ttl in ms
--       10 writer  11 seq, '' without a batch  12 delta  13 may queue  14 token, '' without a round
--       15 how many batches the round had  16 the last of them  17 release  18 is there a notice  19 notice
-- Answers: code, version, time, record, token, batches, and what went wrong with telling others of a write that stands

local RECORD, OUTBOX = KEYS[1], KEYS[2]
-- Numbers of the protocol, which `script.rs` fills in.
local LEASE_MS, MAX_ROUND, CAPACITY = {round_lease_ms}, {max_round_batches}, {outbox_capacity}
-- A mark is known for the rest of its generation and all of the next: one whole generation at least.
local GENERATION_US, MARKS_TTL_MS = {dedup_window_us}, {marks_ttl_ms}
local LARGEST, LATEST = {largest}, {latest}
local MAX_CHANGES, CHANGES_TTL_MS = {max_changes}, {changes_ttl_ms}
local CONFLICT, APPLIED, COMBINE, QUEUED, DUPLICATE, FENCED, FOREIGN, TOO_LARGE = 0, 1, 2, 3, 4, 5, 6, 7

-- Numbers turn into text with 14 digits, which is fewer than microseconds have.
local function text(number) return string.format('%.0f', number) end

-- Everything is read before anything is written: a key of the wrong kind must not leave half a write behind.
local failed
local function read(...)
  local found = redis.pcall(...)
  if type(found) == 'table' and found.err then
    failed = failed or found
    return false
  end
  return found
end

local time = redis.call('TIME')
local us = time[1] * 1e6 + time[2]
local now = math.floor(us / 1e3)
local size = read('HSTRLEN', RECORD, 'r') or 0
if size > LARGEST then return {TOO_LARGE, size, us, '', '', {}, ''} end
local held = read('HMGET', RECORD, 'v', 'r', 'l', 'c') or {}
local waiting = read('LLEN', OUTBOX) or 0
local v, lease, current = tonumber(held[1] or '0'), tonumber(held[3] or '0'), held[4] or ''
local expected, ttl = ARGV[3], tonumber(ARGV[9])
local writer, seq, may_queue = ARGV[10], ARGV[11], ARGV[13] == '1'
local token, release = ARGV[14], ARGV[17] == '1'

-- By the version where the clock was set back, so that marks neither come back to life nor die early.
local generation = math.floor(math.max(us, v or 0) / GENERATION_US)
local marks, older = KEYS[3 + generation % 2], KEYS[4 - generation % 2]
local of_marks, of_older = false, false
if seq ~= '' then
  of_marks = read('HMGET', marks, '#', writer) or {}
  of_older = read('HMGET', older, '#', writer) or {}
end
if failed then
  if string.find(failed.err, 'WRONGTYPE', 1, true) then return {FOREIGN, 0, us, '', '', {}, ''} end
  return failed
end
local is_ours = held[1] or redis.call('EXISTS', RECORD) == 0
if not v or v < 0 or v > LATEST or not lease or not is_ours then return {FOREIGN, 0, us, '', '', {}, ''} end

local function answer(code, whose, batches) return {code, v, us, held[2] or '', whose or '', batches or {}, ''} end

local is_current = of_marks and of_marks[1] == text(generation)
if seq ~= '' then
  local last = -1
  if is_current then last = tonumber(of_marks[2] or '-1') end
  if of_older[1] == text(generation - 1) then last = math.max(last, tonumber(of_older[2] or '-1')) end
  if last >= tonumber(seq) then return answer(DUPLICATE) end
end

local function accept()
  if seq == '' then return end
  if not is_current then redis.call('DEL', marks) end
  redis.call('HSET', marks, '#', text(generation), writer, seq)
  redis.call('PEXPIRE', marks, MARKS_TTL_MS)
end

local function next_token() return text(math.max(us, (tonumber(current) or 0) + 1)) end

local function take_turn()
  local mine = next_token()
  redis.call('HSET', RECORD, 'v', text(v), 'l', text(now + LEASE_MS), 'c', mine)
  if not held[1] then redis.call('PEXPIRE', RECORD, ttl) end
  return answer(COMBINE, mine, redis.call('LRANGE', OUTBOX, 0, MAX_ROUND - 1))
end

-- A lease that ends later than any can was given before the clock was set back.
local is_free = lease <= now or lease > now + LEASE_MS
-- What waits comes first: the writer that finds it combines.
local may_write = is_free and waiting == 0
if token ~= '' then may_write = lease ~= 0 and token == current end

if expected == text(v) and may_write then
  local taken = tonumber(ARGV[15])
  -- The batches of the round lead the list, or the list was lost and what is there now is not of the round.
  if taken > 0 then
    local last = redis.call('LINDEX', OUTBOX, taken - 1)
    if not last or string.sub(last, 1, #ARGV[16]) ~= ARGV[16] then taken = 0 end
  end
  local batches = {}
  if not release and waiting > taken then
    batches = redis.call('LRANGE', OUTBOX, taken, taken + MAX_ROUND - 1)
  end
  v = math.max(v + 1, us)
  local until_ms, mine = 0, current
  if #batches > 0 then until_ms, mine = now + LEASE_MS, next_token() end
  -- First what needs memory: a server that has none refuses here, before anything has changed.
  redis.call('HSET', RECORD, 'v', text(v), 'r', ARGV[4], 'l', text(until_ms), 'c', mine,
    's', ARGV[5], 'f', ARGV[6], 'u', ARGV[7], 'e', ARGV[8])
  redis.call('PEXPIRE', RECORD, ttl)
  accept()
  if taken > 0 then redis.call('LTRIM', OUTBOX, taken, -1) end
  -- Last, and so that where it is not permitted the write stands all the same.
  local trouble = ''
  local function tell(...)
    local told = redis.pcall(...)
    if type(told) == 'table' and told.err then trouble = told.err end
    return told
  end
  if ARGV[18] == '1' then
    local newest = tell('ZREVRANGE', KEYS[5], 0, 0, 'WITHSCORES')
    -- The first member tells this set from another one that was here before.
    if not newest[1] then tell('ZADD', KEYS[5], 0, '#' .. text(us)) end
    -- Later than all others, whatever the clock says: who looks asks for what is later than the last that it has seen.
    tell('ZADD', KEYS[5], text(math.max(us, (tonumber(newest[2] or '0') or 0) + 1)), ARGV[1])
    tell('ZREMRANGEBYRANK', KEYS[5], 1, -1 - MAX_CHANGES)
    tell('PEXPIRE', KEYS[5], CHANGES_TTL_MS)
    tell('PUBLISH', ARGV[2], text(v) .. ' ' .. #ARGV[1] .. ' ' .. ARGV[1] .. ARGV[19])
  end
  if #batches == 0 then return {APPLIED, v, us, '', '', {}, trouble} end
  return {COMBINE, v, us, ARGV[4], mine, batches, trouble}
end

if token ~= '' then return answer(FENCED) end
if seq == '' then
  if is_free and waiting > 0 then return take_turn() end
  return answer(CONFLICT)
end
-- Merely late, with no writer combining: cheaper to try again than to queue.
local is_late = not may_queue and is_free and waiting == 0
-- Where there is a round to be had, its writer makes room.
local is_full = not is_free and waiting >= CAPACITY
if is_late or is_full then return answer(CONFLICT) end
redis.call('RPUSH', OUTBOX, writer .. ':' .. seq .. ':' .. ARGV[12])
if redis.call('PTTL', OUTBOX) < ttl then redis.call('PEXPIRE', OUTBOX, ttl) end
accept()
if is_free then return take_turn() end
return answer(QUEUED)
