// Package enforce is the planner that all installers of filters share. A Plan says which threads of a program get which
// filter and how to recognise that a thread is inside its serving loop; it knows nothing of how a filter gets there.
//
// Direction of error: Match errs towards "not inside". A thread whose stack differs in one return address below its loop
// from what the filter was computed for is no match and stays unfiltered, because code that the filter does not cover
// could run after the loop returns.
//
// Check says before anything is touched whether the kernel can enforce a plan, VerifyModules whether a process runs the
// code that the plan was made for.
package enforce
