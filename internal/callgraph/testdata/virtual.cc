// C++: calls through objects, and code that only exceptions reach. Names are as the linker sees them where a function has
// several parts or is made by the compiler (thunks, destructors).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#ifdef __clang__
#define KEEP __attribute__((noinline, used))
#else
#define KEEP __attribute__((noinline, noclone, noipa, used))
#endif
#define NAME(n) __asm__(#n)
volatile int sink;
volatile int zero; // 0 when it runs, which compilers do not know

// A base class, and who overrides.
struct Shape {
	int n;
	explicit Shape(int i) : n(i) {}
	virtual int area() NAME(Shape_area);
	virtual int sides() NAME(Shape_sides) = 0;
	virtual ~Shape() {}
	int plain() NAME(Shape_plain);
};
struct Circle : Shape {
	using Shape::Shape;
	int area() override NAME(Circle_area);
	int sides() override NAME(Circle_sides);
	~Circle() override;
};
struct Square : Shape {
	using Shape::Shape;
	int sides() override NAME(Square_sides);
	~Square() override;
};
KEEP int Shape::area() { sink = 1; return n + 1; }
KEEP int Shape::plain() { sink = 2; return n + 2; }
KEEP int Circle::area() { sink = 3; return n + 3; }
KEEP int Circle::sides() { sink = 4; return n + 4; }
KEEP int Square::sides() { sink = 5; return n + 5; }
extern "C" KEEP void circle_gone(int n) { sink = n + 6; }
extern "C" KEEP void square_gone(int n) { sink = n + 7; }
KEEP Circle::~Circle() { circle_gone(n); }
KEEP Square::~Square() { square_gone(n); }
extern "C" KEEP Shape *make_shape(int i) { return i ? static_cast<Shape *>(new Circle(i)) : new Square(i); }
extern "C" KEEP int call_area(Shape *s) { return s->area() + 1; }
extern "C" KEEP int call_sides(Shape *s) { return s->sides() + 1; }
extern "C" KEEP int call_sides_tail(Shape *s) { return s->sides(); }
extern "C" KEEP void destroy(Shape *s) { delete s; sink = 8; }
// WANT: call_area -> Shape_area, Circle_area
// WANT: call_sides -> Circle_sides, Square_sides
// WANT: call_sides_tail -> Circle_sides, Square_sides
// WANT: destroy -> _ZN6CircleD0Ev, _ZN6SquareD0Ev
// WANT: main => circle_gone, square_gone

// A class that nobody makes an object of.
struct Ghost : Shape {
	using Shape::Shape;
	int area() override NAME(Ghost_area);
	int sides() override NAME(Ghost_sides);
};
KEEP int Ghost::area() { sink = 9; return n + 9; }
KEEP int Ghost::sides() { sink = 10; return n + 10; }
extern "C" KEEP Shape *make_ghost(int i) { return new Ghost(i); }
// WANT-NOT: main => make_ghost b

// Pointers to members: to a function, and to a virtual one.
extern "C" KEEP int call_member(Shape *s, int (Shape::*m)()) { return (s->*m)() + 1; }
// WANT: call_member -> Shape_plain, Circle_area, Circle_sides

// Two bases: calls through the second one come in through a thunk.
struct Reader { long r = 1; virtual int read() = 0; virtual ~Reader() {} };
struct Writer { long w = 2; virtual int write() = 0; virtual ~Writer() {} };
struct Both : Reader, Writer {
	int read() override NAME(Both_read);
	int write() override;
	~Both() override;
};
extern "C" KEEP void both_wrote(long n) { sink = static_cast<int>(n); }
extern "C" KEEP void both_gone(long n) { sink = static_cast<int>(n) + 1; }
KEEP int Both::read() { sink = 11; return 11; }
KEEP int Both::write() { both_wrote(r + w); return 12; }
KEEP Both::~Both() { both_gone(r - w); }
extern "C" KEEP Both *make_both() { return new Both; }
extern "C" KEEP int call_read(Reader *r) { return r->read() + 1; }
extern "C" KEEP int call_write(Writer *w) { return w->write() + 1; }
extern "C" KEEP void destroy_writer(Writer *w) { delete w; sink = 13; }
// WANT: call_read -> Both_read
// WANT: call_write -> _ZThn16_N4Both5writeEv
// WANT: destroy_writer -> _ZThn16_N4BothD0Ev
// WANT: main => _ZN4Both5writeEv, both_wrote, both_gone

// A virtual base: the thunk looks up how far it is.
struct Base { long b = 3; virtual int go() = 0; virtual ~Base() {} };
struct Left : virtual Base { long l = 4; int go() override; };
struct Right : virtual Base { long r = 5; virtual int right() NAME(Right_right); };
struct Bottom : Left, Right { long z = 6; int right() override; };
extern "C" KEEP void left_went(long n) { sink = static_cast<int>(n) + 2; }
extern "C" KEEP void bottom_went(long n) { sink = static_cast<int>(n) + 3; }
KEEP int Left::go() { left_went(l + b); return 14; }
KEEP int Right::right() { sink = 15; return 15; }
KEEP int Bottom::right() { bottom_went(z + b); return 16; }
extern "C" KEEP Bottom *make_bottom() { return new Bottom; }
extern "C" KEEP int call_go(Base *b) { return b->go() + 1; }
extern "C" KEEP int call_right(Right *r) { return r->right() + 1; }
// WANT: call_go -> _ZTv0_n24_N4Left2goEv
// WANT: call_right -> _ZThn16_N6Bottom5rightEv
// WANT: main => left_went, bottom_went

// Pure virtual functions that templates define.
struct Job { virtual int run() = 0; virtual ~Job() {} };
extern "C" KEEP int work_one(int n) { sink = n + 4; return n; }
extern "C" KEEP int work_two(int n) { sink = n + 5; return n; }
struct One { static int work() { return work_one(zero); } };
struct Two { static int work() { return work_two(zero); } };
template <class T> struct JobOf : Job { KEEP int run() override { return T::work() + 1; } };
extern "C" KEEP Job *make_job(int i) { return i ? static_cast<Job *>(new JobOf<One>) : new JobOf<Two>; }
extern "C" KEEP int call_job(Job *j) { return j->run() + 1; }
// WANT: call_job -> _ZN5JobOfI3OneE3runEv, _ZN5JobOfI3TwoE3runEv
// WANT: main => work_one, work_two

// A call in a constructor goes to the class under construction.
struct Early { Early(); virtual int init() NAME(Early_init); virtual ~Early() {} };
struct Late : Early { int init() override NAME(Late_init); };
extern "C" KEEP int call_init(Early *e) { return e->init() + 1; }
KEEP Early::Early() { sink = call_init(this); }
KEEP int Early::init() { sink = 17; return 17; }
KEEP int Late::init() { sink = 18; return 18; }
// WANT: call_init -> Early_init, Late_init

// Only the landing pad destroys the guard, for what it guards never returns.
extern "C" KEEP void guard_gone(int n) { sink = n + 19; }
struct Guard { int n; explicit Guard(int i) : n(i) {} ~Guard(); };
KEEP Guard::~Guard() { guard_gone(n); }
extern "C" KEEP void problem_gone(int n) { sink = n + 20; }
struct Problem { int n; explicit Problem(int i) : n(i) {} Problem(const Problem &p) : n(p.n) {} virtual ~Problem(); virtual int what() NAME(Problem_what); };
struct Special : Problem { using Problem::Problem; int what() override NAME(Special_what); };
KEEP Problem::~Problem() { problem_gone(n); }
KEEP int Problem::what() { sink = 21; return n; }
KEEP int Special::what() { sink = 22; return n + 1; }
extern "C" [[noreturn]] KEEP void fail(int n) { if (n) throw Special(n); throw Problem(n); }
extern "C" [[noreturn]] KEEP void guarded(int n) { Guard g(n); fail(n); }
extern "C" KEEP void in_handler(int n) { sink = n + 23; }
extern "C" KEEP void in_other_handler(int n) { sink = n + 24; }
extern "C" KEEP int call_what(Problem &p) { return p.what() + 1; }
extern "C" KEEP int try_it(int n)
{
	try {
		guarded(n);
	} catch (Special &s) {
		in_handler(s.n);
		return call_what(s);
	} catch (Problem &p) {
		in_other_handler(p.n);
		return call_what(p);
	}
}
// WANT: main => guard_gone, problem_gone, in_handler, in_other_handler, __gxx_personality_v0
// WANT: call_what -> Problem_what, Special_what

// Thrown again, out of a callback, and never caught.
extern "C" KEEP void rethrown(int n) { sink = n + 25; }
extern "C" KEEP void thrower(int n) { if (n > 0) throw n; }
extern "C" KEEP void call_thrower(void (*f)(int), int n)
{
	try {
		f(n);
	} catch (...) {
		rethrown(n);
		throw;
	}
}
extern "C" KEEP void caught_int(int n) { sink = n + 26; }
// A pointer that lies in a register while the exception passes, and is called where it lands alone.
// WANT: try_landed -> landed
extern "C" KEEP void landed(int n) { sink += n; }
extern "C" KEEP void try_landed(int n) {
	void (*p)(int) = landed;
	__asm__("" : "+r"(p));
	try { call_thrower(thrower, n); } catch (...) { p(n); }
}
extern "C" KEEP void try_callback() { try { call_thrower(thrower, 1 + zero); } catch (int n) { caught_int(n); } }
extern "C" KEEP void at_terminate() { sink = 27; std::_Exit(1); }
extern "C" KEEP void must_not_throw(int n) noexcept { thrower(n); }
// WANT: call_thrower -> thrower
// WANT: main => rethrown, caught_int, at_terminate

// The standard library's: functions in objects, threads, sorting, pointers with deleters, and what() of an exception.
extern "C" KEEP int held(int n) { sink = n + 28; return n; }
extern "C" KEEP int in_lambda(int n) { sink = n + 29; return n; }
extern "C" KEEP int in_capture(int n) { sink = n + 30; return n; }
extern "C" KEEP int call_function(const std::function<int(int)> &f) { return f(1) + 1; }
// WANT: main => _ZNSt17_Function_handlerIFiiEPS0_E9_M_invokeERKSt9_Any_dataOi, held, in_lambda, in_capture
extern "C" KEEP void in_thread(int n) { sink = n + 31; }
extern "C" KEEP void in_thread_lambda(int n) { sink = n + 32; }
extern "C" KEEP void in_once(int n) { sink = n + 33; }
extern "C" KEEP bool less(int a, int b) { return a < b + zero; }
extern "C" KEEP void deleter(int *p) { sink = *p; delete p; }
extern "C" KEEP void shared_gone(int n) { sink = n + 34; }
struct Shared { int n = 0; ~Shared() { shared_gone(n); } };
extern "C" KEEP const char *message(const char *s) { return s + zero; }
struct Own : std::exception { const char *what() const noexcept override NAME(Own_what); };
KEEP const char *Own::what() const noexcept { return message("own"); }
extern "C" KEEP const char *call_exception(const std::exception &e) { const char *s = e.what(); sink = s[0]; return s; }
// WANT: main => in_thread, in_thread_lambda, in_once, less, deleter, shared_gone, message
// WANT: call_exception -> Own_what

// Destroyed at the end: of the program, of a thread, and of a function.
extern "C" KEEP void static_made(int n) { sink = n + 35; }
extern "C" KEEP void static_gone(int n) { sink = n + 36; }
extern "C" KEEP void local_gone(int n) { sink = n + 37; }
extern "C" KEEP void thread_gone(int n) { sink = n + 38; }
extern "C" KEEP void out_of_memory() { sink = 39; std::_Exit(1); }
struct Static { int n; explicit Static(int i) : n(i) { static_made(n); } ~Static() { static_gone(n); } };
struct Local { int n; explicit Local(int i) : n(i) {} ~Local() { local_gone(n); } };
struct PerThread { int n = 1; ~PerThread() { thread_gone(n); } };
static Static object(zero);
static thread_local PerThread per_thread;
extern "C" KEEP int use_local(int i) { static Local l(i); return l.n + per_thread.n; }
// WANT: main => static_gone, local_gone, thread_gone, out_of_memory

int main(int argc, char **)
{
	std::set_terminate(at_terminate);
	std::set_new_handler(out_of_memory);
	Shape *a = make_shape(1), *b = make_shape(zero);
	int r = call_area(a) + call_area(b) + call_sides(a) + call_sides(b) + call_sides_tail(a) + call_sides_tail(b);
	r += call_member(a, &Shape::plain) + call_member(a, &Shape::area) + call_member(a, &Shape::sides);
	destroy(a);
	destroy(b);
	Both *both = make_both();
	r += call_read(both) + call_write(both);
	destroy_writer(both);
	Bottom *bottom = make_bottom();
	r += call_go(bottom) + call_right(bottom);
	Job *j = make_job(1), *k = make_job(zero);
	r += call_job(j) + call_job(k);
	Late late;
	r += call_init(&late);
	r += try_it(argc) + try_it(zero);
	try_callback();
	try_landed(1 + zero);
	must_not_throw(zero);
	int x = argc, y = x + zero, z = y + argc;
	r += call_function(held) + call_function([](int n) { return in_lambda(n); }) + call_function([x, y, z](int n) { return in_capture(n + x + y + z); });
	std::thread t(in_thread, 1), u([argc] { in_thread_lambda(argc); use_local(argc); });
	t.join();
	u.join();
	std::once_flag once;
	std::call_once(once, [] { in_once(1); });
	std::vector<int> v{3, 1, 2, 5, 4, 9, 8, 7, 6, 17, 16, 15, 14, 13, 12, 11, 10, argc};
	std::sort(v.begin(), v.end(), less);
	std::shared_ptr<int> p(new int(1), deleter);
	auto s = std::make_shared<Shared>();
	p.reset();
	s.reset();
	try { if (argc) throw Own(); } catch (const std::exception &e) { call_exception(e); }
	return r == 0;
}
