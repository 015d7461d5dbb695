"""Reed–Solomon over GF(2^8) as §5 describes it, and CRC-32C. Plain Python: a column of 8 MiB takes about
0.1 s for each shard that goes into it, because translate and int xor run at C speed."""
import functools

EXP = [1]
while len(EXP) < 510:
    EXP.append(EXP[-1] << 1 if EXP[-1] < 128 else (EXP[-1] << 1) ^ 0x11D)
LOG = {EXP[i]: i for i in range(255)}


def gf_mul(a, b):
    return EXP[LOG[a] + LOG[b]] if a and b else 0


def gf_pow(a, n):
    return EXP[LOG[a] * n % 255] if a else int(n == 0)


def gf_matmul(a, b):
    def dot(row, column):
        return functools.reduce(lambda s, xy: s ^ gf_mul(*xy), zip(row, column), 0)
    return [[dot(row, column) for column in zip(*b)] for row in a]


def gf_invert(matrix):
    """Gauss–Jordan on the matrix with the identity beside it."""
    n = len(matrix)
    rows = [list(row) + [int(i == j) for j in range(n)] for i, row in enumerate(matrix)]
    for c in range(n):
        p = next(r for r in range(c, n) if rows[r][c])   # no such row: StopIteration, a singular matrix
        rows[c], rows[p] = rows[p], rows[c]
        inverse = EXP[255 - LOG[rows[c][c]]]
        rows[c] = [gf_mul(x, inverse) for x in rows[c]]
        for r in range(n):
            if r != c and rows[r][c]:
                factor = rows[r][c]
                rows[r] = [x ^ gf_mul(factor, y) for x, y in zip(rows[r], rows[c])]
    return [row[n:] for row in rows]


@functools.lru_cache(maxsize=None)
def code_matrix(k, m):
    vandermonde = [[gf_pow(r, c) for c in range(k)] for r in range(k + m)]
    return gf_matmul(vandermonde, gf_invert(vandermonde[:k]))


@functools.lru_cache(maxsize=None)
def times(factor):
    """The table that multiplies every byte of a string by factor: bytes.translate does it at C speed."""
    return bytes(gf_mul(factor, x) for x in range(256))


def make_shard(k, m, want, have):
    """Payload of shard `want` from any k payloads, have = {shard number: payload}."""
    chosen = sorted(have)[:k]
    matrix = code_matrix(k, m)
    factors = gf_matmul([matrix[want]], gf_invert([matrix[j] for j in chosen]))[0]
    total = 0
    for j, factor in zip(chosen, factors):
        total ^= int.from_bytes(have[j].translate(times(factor)), "little")   # addition is xor
    return total.to_bytes(len(have[chosen[0]]), "little")


CRC32C = []
for _n in range(256):
    for _ in range(8):
        _n = _n >> 1 ^ (0x82F63B78 if _n & 1 else 0)
    CRC32C.append(_n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
