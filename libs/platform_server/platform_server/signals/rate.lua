-- A token bucket of one tenant's submissions. KEYS: bucket (hash: tokens, at). ARGV: rate a second, burst, tokens asked.
-- Returns how many of those were taken, the whole tokens that are left, and milliseconds until there is another one.
local rate, burst, asked = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(before[1] or burst), tonumber(before[2] or now)
tokens = math.min(burst, tokens + math.max(0, now - at) * rate / 1000)
local taken = math.min(asked, math.floor(tokens))
tokens = tokens - taken
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst * 1000 / rate) + 1000)
return {taken, math.floor(tokens), math.max(0, math.ceil((1 - tokens) * 1000 / rate))}
