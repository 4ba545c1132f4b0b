// A library without loops; OTHER makes it another one.
#ifdef OTHER
int other;
#endif
int extra(void) { return 1; }
