// Functions whose frames the compiler describes. The test describes them anew, from the code alone.
#define KEEP __attribute__((noinline, noclone))
volatile long sink;

KEEP long leaf(long a) { return a + sink; }

// Six kept registers, room for an array, an early way out.
KEEP long wide(long a, long b, long c, long d)
{
	char room[200];
	long e = leaf(a), f = leaf(b);
	if (e == f)
		return c;
	for (long i = 0; i < d; i++) {
		room[i % 200] = (char)(e + i);
		e += leaf(room[i % 199] + f + a + b + c);
	}
	return e + f + c + d + room[3];
}

// Arguments on the stack.
KEEP long many(long a, long b, long c, long d, long e, long f, long g, long h)
{
	return leaf(a + h) + leaf(b + g) + c + d + e + f;
}
KEEP long passes(long a)
{
	return many(a, 1, 2, 3, 4, 5, 6, 7) + many(1, 2, 3, 4, 5, 6, 7, a) + a;
}

int main(void)
{
	return (int)(wide(1, 2, 3, 4) + passes(3)) & 0;
}
