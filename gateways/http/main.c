#include "gateways/common/gateway.h"
#include "gateways/http/http.h"

int main(int argc, char **argv)
{
    return gateway_main(argc, argv, &http_edge);
}
