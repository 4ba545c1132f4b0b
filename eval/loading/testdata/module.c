// A module for redis with one command, by the interface of its API (redis.io/docs/reference/modules): the first word of
// the context is the function that looks the API's functions up.
typedef int (*get_api)(const char *name, void *to);

static int (*reply)(void *ctx, const char *text);

static int hello(void *ctx, void **argv, int argc)
{
	(void)argv;
	(void)argc;
	return reply(ctx, "hello");
}

int RedisModule_OnLoad(void *ctx, void **argv, int argc)
{
	get_api get = *(get_api *)ctx;
	void (*attributes)(void *, const char *, int, int);
	int (*command)(void *, const char *, int (*)(void *, void **, int), const char *, int, int, int);
	(void)argv;
	(void)argc;
	if (get("RedisModule_SetModuleAttribs", &attributes) || get("RedisModule_CreateCommand", &command) || get("RedisModule_ReplyWithSimpleString", &reply))
		return 1;
	attributes(ctx, "fixture", 1, 1);
	return command(ctx, "fixture.hello", hello, "readonly", 0, 0, 0);
}
