#include "gateways/common/gateway.h"
#include "gateways/ws/ws.h"

int main(int argc, char **argv)
{
    return gateway_main(argc, argv, &ws_edge);
}
