// Conversions between charsets whose names are constants, come through a parameter, or from outside.
#include <iconv.h>
#include <stdio.h>

__attribute__((noinline, noipa)) static int convert(const char *to, const char *from) {
	iconv_t d = iconv_open(to, from);
	char in[] = "text", out[64], *i = in, *o = out;
	size_t n = 4, m = sizeof out;
	return d == (iconv_t)-1 || iconv(d, &i, &n, &o, &m) != 0 || iconv_close(d) != 0;
}

int main(int argc, char **argv) {
#if CASE == 1
	return convert("ISO-8859-2", "UTF-8");
#elif CASE == 2
	return convert("utf-8//TRANSLIT", argc > 1 ? "SJIS" : "LATIN2");
#elif CASE == 3
	return convert("UTF-8", argv[1]);
#else
	return puts("nothing to convert") < 0;
#endif
}
