// A library with a default and an old version of one symbol, an unversioned one, and TLS.
__asm__(".symver answer_old, answer@V_1");
__asm__(".symver answer_new, answer@@V_2");
int answer_old(void) { return 41; }
int answer_new(void) { return 42; }
int plain_v1(void) { return 1; }
__thread int tls_value = 7;
