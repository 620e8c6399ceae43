"""Ethereum transactions with the standard library alone, for judges: keccak256, RLP, secp256k1, EIP-155.

Not constant in time and not for real money.
"""
import secrets

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
     0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = (3 * a[0] * a[0] * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiply(k, point=G):
    result = None
    while k:
        if k & 1:
            result = add(result, point)
        point, k = add(point, point), k >> 1
    return result


def keccak256(data):
    """FIPS 202's permutation with Keccak's own padding."""
    mask, lanes = 2**64 - 1, [0] * 25
    padded = bytearray(data) + b"\x01" + bytes(-(len(data) + 2) % 136) + b"\x80" if (len(data) + 1) % 136 else bytearray(data) + b"\x81"
    turn = lambda v, n: (v << n | v >> (64 - n)) & mask if n else v
    for at in range(0, len(padded), 136):
        for i in range(17):
            lanes[i] ^= int.from_bytes(padded[at + 8 * i:at + 8 * i + 8], "little")
        register = 1
        for _ in range(24):
            parity = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
            lanes = [lanes[i] ^ parity[(i + 4) % 5] ^ turn(parity[(i + 1) % 5], 1) for i in range(25)]
            x, y, moved = 1, 0, lanes[1]
            for t in range(24):
                x, y = y, (2 * x + 3 * y) % 5
                moved, lanes[x + 5 * y] = lanes[x + 5 * y], turn(moved, (t + 1) * (t + 2) // 2 % 64)
            lanes = [lanes[i] ^ (~lanes[i - i % 5 + (i + 1) % 5] & mask & lanes[i - i % 5 + (i + 2) % 5]) for i in range(25)]
            for j in range(7):
                lanes[0] ^= (register & 1) << (2**j - 1)
                register = register << 1 ^ (register >> 7) * 0x171
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def rlp(item):
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 128:
            return item
        return head(128, len(item)) + item
    body = b"".join(map(rlp, item))
    return head(192, len(body)) + body


def head(base, length):
    if length < 56:
        return bytes([base + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(size)]) + size


def address(secret):
    x, y = multiply(secret)
    return "0x" + keccak256(x.to_bytes(32, "big") + y.to_bytes(32, "big"))[12:].hex()


def data(signature, *arguments):
    """A call's data: addresses as hexadecimal, numbers as they are."""
    words = [int(a, 16) if isinstance(a, str) else a for a in arguments]
    return keccak256(signature.encode())[:4] + b"".join(word.to_bytes(32, "big") for word in words)


def transaction(secret, chain, nonce, to, call):
    """A legacy transaction (EIP-155), signed."""
    fields = [nonce, 10**9, 2_000_000, bytes.fromhex(to[2:]), 0, call]
    digest = int.from_bytes(keccak256(rlp(fields + [chain, 0, 0])), "big")
    k = secrets.randbelow(N - 1) + 1
    x, y = multiply(k)
    r = x % N
    s = pow(k, -1, N) * (digest + r * secret) % N
    odd = y & 1
    if s > N // 2:
        s, odd = N - s, odd ^ 1
    return "0x" + rlp(fields + [chain * 2 + 35 + odd, r, s]).hex()


assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
assert keccak256(bytes(135)) != keccak256(bytes(136)) and address(1) == "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
