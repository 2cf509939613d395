#include "tools/flood/flood.h"

int main(int argc, char **argv)
{
    return flood_run(argc, argv);
}
