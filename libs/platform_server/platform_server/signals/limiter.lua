-- One step of the auth-failure limiter for one address. All times are Redis' own, in milliseconds.
--
-- KEYS: failures and pending tries (sorted sets: member "prefix|serial", score = time), ban (with a time to live),
-- verified (sorted set of prefixes, score = until), serial. ARGV: step, prefix, limit, window, ban duration.
-- Returns how long the address stays banned, 0 for "go on", -1 for "all tries that are left are in flight: ask again".
local failures, pending, ban, verified, serial = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local step, prefix = ARGV[1], ARGV[2]
local limit, window, duration = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A try whose server died is not in flight for ever.
local in_flight = 10000

redis.call('ZREMRANGEBYSCORE', failures, '-inf', now - window)
redis.call('ZREMRANGEBYSCORE', pending, '-inf', now - in_flight)

local function add(key, life)
  redis.call('ZADD', key, now, prefix .. '|' .. redis.call('INCR', serial))
  redis.call('PEXPIRE', key, life)
  redis.call('PEXPIRE', serial, window)
end

local function remove(key, most)
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    if most > 0 and string.sub(member, 1, #prefix + 1) == prefix .. '|' then
      redis.call('ZREM', key, member)
      most = most - 1
    end
  end
end

if step == 'reserve' then
  local trusted_until = redis.call('ZSCORE', verified, prefix)
  if trusted_until and tonumber(trusted_until) > now then
    add(pending, in_flight)
    return 0
  end
  local left = redis.call('PTTL', ban)
  if left > 0 then
    return left
  end
  if redis.call('ZCARD', failures) + redis.call('ZCARD', pending) >= limit then
    return -1
  end
  add(pending, in_flight)
  return 0
end

remove(pending, 1)
if step == 'released' then
  return 0
end
if step == 'succeeded' then
  remove(failures, limit)
  redis.call('ZADD', verified, now + window, prefix)
  redis.call('ZREMRANGEBYSCORE', verified, '-inf', now)
  redis.call('PEXPIRE', verified, window)
  return 0
end

add(failures, window)
if redis.call('ZCARD', failures) >= limit then
  redis.call('SET', ban, '1', 'PX', duration)
  redis.call('DEL', failures)
  return duration
end
return 0
