#include "ddpm/cli/app.h"

int main(int argc, char** argv) { return ddpm::cli::run(argc, argv); }
