#include "proto/chance.h"

#include <math.h>

#include "base/base.h"

void chance_init(struct chance *c, uint64_t seed)
{
    /* splitmix64, so that seeds side by side have nothing in common */
    seed += UINT64_C(0x9e3779b97f4a7c15);
    seed = (seed ^ seed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    seed = (seed ^ seed >> 27) * UINT64_C(0x94d049bb133111eb);
    c->state = (seed ^ seed >> 31) | 1;
}

/* xorshift64* */
uint64_t chance_next(struct chance *c)
{
    c->state ^= c->state >> 12;
    c->state ^= c->state << 25;
    c->state ^= c->state >> 27;
    return c->state * UINT64_C(0x2545f4914f6cdd1d);
}

double chance_unit(struct chance *c)
{
    return (double)(chance_next(c) >> 11) * 0x1p-53;
}

uint64_t chance_below(struct chance *c, uint64_t n)
{
    return (uint64_t)((unsigned __int128)chance_next(c) * n >> 64);
}

/* Rejection-inversion: W. Hoermann, G. Derflinger, 1996. The integral of
 * x^-s, its inverse, and x^-s itself. */
static double integral(const struct zipf *z, double x)
{
    double t = (1 - z->exponent) * log(x);

    return fabs(t) > 1e-8 ? expm1(t) / (1 - z->exponent) : log(x);
}

static double inverse(const struct zipf *z, double y)
{
    double t = MAX(y * (1 - z->exponent), -1.0);

    return fabs(t) > 1e-8 ? exp(log1p(t) / (1 - z->exponent)) : exp(y);
}

static double height(const struct zipf *z, double x)
{
    return exp(-z->exponent * log(x));
}

void zipf_init(struct zipf *z, uint64_t n, double exponent)
{
    *z = (struct zipf){ .exponent = exponent, .n = n };
    z->from = integral(z, 1.5) - 1;
    z->to = integral(z, (double)n + 0.5);
    z->nearest = 2 - inverse(z, integral(z, 2.5) - height(z, 2));
}

uint64_t zipf_pick(const struct zipf *z, struct chance *c)
{
    for (;;) {
        double u = z->to + chance_unit(c) * (z->from - z->to);
        double x = inverse(z, u);
        double k = MIN(MAX(floor(x + 0.5), 1.0), (double)z->n);

        if (k - x <= z->nearest
            || u >= integral(z, k + 0.5) - height(z, k))
            return (uint64_t)k - 1;
    }
}
