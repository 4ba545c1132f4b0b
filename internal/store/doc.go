// Package store is a content-addressed cache on disk: values that are pure functions of their key, such as module
// summaries keyed by a file's hash and the analyser's version.
//
//	Open(dir string) (*Store, error)             "" is syspart's directory under the user's cache directory
//	(*Store).Err() error                         why the store is unusable, nil if it works
//	(*Store).Get(key string) ([]byte, bool)      8-byte aligned
//	(*Store).Put(key string, data []byte) error  atomic
//	Key(parts ...string) string                  a key out of everything that a value depends on
//
// A cache must never decide a result: an entry is used only if its header names the whole key and length, and its
// checksum fits; anything else is removed and counts as absent, and the caller computes the value again. Losing entries,
// or the whole directory, costs time only.
//
// # What is trusted
//
// The checksum finds accidents, not attacks: who can write the directory decides what the analysis says. So the directory
// must belong to the effective user, be no symbolic link and be writable by nobody else; otherwise the store is unusable,
// which means that it never hits and refuses to store. (root with another user's HOME therefore does not use that user's
// cache.) The directory is held open from then on, and entries are opened relative to it without following links out.
// Entries are readable by their owner only, since they tell what somebody analysed.
//
// # Size
//
// Entries are kept until they occupy more than MaxSize together; then the least recently used ones go until a tenth of it
// is free. Use is recorded once an hour at most. The directory is listed once per process that stores something, and when
// the limit is reached. Several processes may use one directory; each prunes by what it knows, so the limit may be exceeded
// for a while.
package store
