package cli

// exitMeaning is an exit code as a user is told of it.
type exitMeaning struct {
	code, text string
	verbs      []string // only these; nil: all
}

// exitMeanings are all exit codes that there are.
var exitMeanings = []exitMeaning{
	{"0", "all is well", nil},
	{"1", "error; one line on standard error names the thing and the remedy", nil},
	{"2", "the profile does not fit the files", []string{"check"}},
	{"2", "there are changes that --fail-on names", []string{"diff"}},
	{"2", "the log has calls that the profile does not allow", []string{"verify"}},
	{"2", "something that run and attach need is missing", []string{"doctor"}},
	{"3", "incomplete: under --strict, something is unresolved, or a thread has no filter", []string{"analyze", "profile", "attach"}},
	{"125", "syspart failed before it could start the server", []string{"profile", "run"}},
	{"126", "the server's file cannot be executed", []string{"profile", "run"}},
	{"127", "the server's file was not found", []string{"profile", "run"}},
	{"other", "what the server ended with, 128+N for signal N", []string{"profile", "run"}},
}
