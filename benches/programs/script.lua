-- Calls, tables, strings, closures, methods and garbage, in about equal parts, eight times: enough for a clock that ticks every 4 ms.
local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end

local sum = 0
local function add(n) sum = (sum * 31 + n) % 4294967296 end

for _ = 1, 8 * ... do

add(fib(24))

-- Sieve: tables as arrays.
local composite, primes = {}, {}
for n = 2, 60000 do
  if not composite[n] then
    primes[#primes + 1] = n
    for m = n * n, 60000, n do composite[m] = true end
  end
end
add(#primes)

-- Sorting calls back.
local numbers, seed = {}, 12345
for i = 1, 8000 do
  seed = (seed * 1103515245 + 12345) % 2147483648
  numbers[i] = seed
end
table.sort(numbers, function(a, b) return a > b end)
add(numbers[1] + numbers[4000])

-- Words: strings, patterns, tables as maps.
local text = ("the quick brown fox jumps over the lazy dog and then it sleeps "):rep(300)
local counts = {}
for word in text:gmatch("%a+") do counts[word] = (counts[word] or 0) + 1 end
add(counts.the)
local parts = {}
for i, prime in ipairs(primes) do parts[i] = ("%d:%x"):format(i, prime) end
local joined = table.concat(parts, ","):gsub("%d", function(digit) return 9 - digit end)
for at = 1, #joined, 7 do add(joined:byte(at)) end

-- Objects: metatables, and garbage.
local Point = {}
Point.__index = Point
Point.__add = function(a, b) return setmetatable({ x = a.x + b.x, y = a.y + b.y }, Point) end
function Point:norm() return self.x * self.x + self.y * self.y end
local p = setmetatable({ x = 0, y = 0 }, Point)
for i = 1, 20000 do p = p + setmetatable({ x = i % 7, y = -(i % 5) }, Point) end
add(p:norm())

-- Bodies in motion: numbers.
local x, y, vx, vy = 1.0, 0.0, 0.0, 1.0
for _ = 1, 200000 do
  local r = x * x + y * y
  local f = 1e-3 / (r * math.sqrt(r))
  vx, vy = vx - x * f, vy - y * f
  x, y = x + vx * 1e-3, y + vy * 1e-3
end
add(math.floor(x * 1e6))

end

print(("lua %08x"):format(sum))
