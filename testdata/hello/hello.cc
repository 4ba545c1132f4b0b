// An exception and a virtual call; fixture of eval/anybin.sh.
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>

struct Base {
	virtual std::string text() const = 0;
	virtual ~Base() {}
};
struct File : Base {
	std::string text() const override {
		std::ifstream f("/proc/self/comm");
		std::string s;
		if (!std::getline(f, s))
			throw std::runtime_error("nothing to read");
		return s;
	}
};

int main(int argc, char **) {
	try {
		Base *b = new File;
		std::cout << b->text() << std::endl;
		if (argc > 1)
			throw std::runtime_error("asked for");
	} catch (const std::exception &e) {
		std::cerr << e.what() << std::endl;
	}
}
