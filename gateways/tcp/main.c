#include "gateways/common/gateway.h"
#include "gateways/tcp/tcp.h"

int main(int argc, char **argv)
{
    return gateway_main(argc, argv, &tcp_edge);
}
