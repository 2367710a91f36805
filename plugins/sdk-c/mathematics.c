// exp, log, pow, sin, and cos of doubles, by reduction to a small interval and a series there.
//
// pow keeps the logarithm to about twice the precision of a double, since its error is multiplied by
// the exponent.
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

static uint64_t bits(double x) {
    union { double number; uint64_t bits; } both = {.number = x};
    return both.bits;
}

static double from_bits(uint64_t x) {
    union { uint64_t bits; double number; } both = {.bits = x};
    return both.number;
}

// The sum of two doubles that is more precise than one.
typedef struct { double high, low; } pair;

// high + low exactly, of |a| >= |b|.
static pair sum(double a, double b) {
    double high = a + b;
    return (pair){high, b - (high - a)};
}

// a * b exactly, by halves of 26 bits, which multiply without error.
static pair product(double a, double b) {
    double a1 = from_bits(bits(a) & ~(uint64_t)0x7ffffff), a2 = a - a1;
    double b1 = from_bits(bits(b) & ~(uint64_t)0x7ffffff), b2 = b - b1;
    double high = a * b;
    return (pair){high, ((a1 * b1 - high) + a1 * b2 + a2 * b1) + a2 * b2};
}

// ln 2; the first has 32 bits, so that its multiples by exponents are exact.
static const double LN2_HIGH = 0x1.62e42feep-1, LN2_LOW = 0x1.a39ef35793c76p-33;

// x * 2^power; in two steps at the ends of the range.
static double scaled(double x, int power) {
    while (power > 1023) x *= 0x1p1023, power -= 1023;
    while (power < -969) x *= 0x1p-969, power += 969;
    return x * from_bits((uint64_t)(power + 1023) << 52);
}

// e^(x + rest) for a rest far below x.
static double exp_of(double x, double rest) {
    if (isnan(x)) return x;
    if (x > 710) return INFINITY;
    if (x < -746) return 0;
    double power = rint(x / (LN2_HIGH + LN2_LOW));
    double r = (x - power * LN2_HIGH) - power * LN2_LOW + rest; // |r| < 0.35
    double series = 0;
    for (int n = 14; n >= 1; n--) series = (series + 1) * r / n; // e^r - 1
    return scaled(1 + series, (int)power);
}

double exp(double x) { return exp_of(x, 0); }

// The logarithm of a positive, finite x.
static pair log_of(double x) {
    int exponent = 0;
    if (x < 0x1p-1022) x *= 0x1p54, exponent = -54;
    uint64_t all = bits(x);
    exponent += (int)(all >> 52) - 1023;
    double m = from_bits((all & 0xfffffffffffff) | 0x3ff0000000000000); // from 1 to 2
    if (m > M_SQRT2) m /= 2, exponent++;
    // log m = 2 artanh s = 2 (s + s^3/3 + s^5/5 + ...) with s = (m - 1) / (m + 1)
    double f = m - 1;
    pair d = sum(m > 1 ? m : 1, m > 1 ? 1 : m);
    double s = f / d.high;
    pair back = product(s, d.high);
    double s_rest = ((f - back.high) - back.low - s * d.low) / d.high;
    double square = s * s, series = 0;
    for (int n = 25; n >= 3; n -= 2) series = (series + 1.0 / n) * square;
    pair first = sum(exponent * LN2_HIGH, 2 * s);
    if (exponent == 0) first = (pair){2 * s, 0};
    return sum(first.high, first.low + (exponent * LN2_LOW + 2 * s_rest + 2 * s * series));
}

double log(double x) {
    if (isnan(x) || x == INFINITY) return x;
    if (x == 0) return -INFINITY;
    if (x < 0) return NAN;
    return log_of(x).high;
}

static bool is_whole(double x) { return trunc(x) == x; }

static bool is_odd(double x) { return is_whole(x) && !is_whole(x / 2); }

double pow(double x, double y) {
    if (y == 0 || x == 1) return 1;
    if (isnan(x) || isnan(y)) return NAN;
    bool negative = bits(x) >> 63;
    double sign = negative && is_odd(y) ? -1 : 1;
    if (x == 0) return y > 0 ? 0 * sign : INFINITY * sign;
    if (negative && isfinite(x) && !is_whole(y)) return NAN;
    double size = fabs(x);
    if (isinf(y)) {
        if (size == 1) return 1;
        return (size > 1) == (y > 0) ? INFINITY : 0;
    }
    if (isinf(x)) return y > 0 ? INFINITY * sign : 0 * sign;
    pair l = log_of(size);
    double whole = y * l.high;
    if (whole > 710) return INFINITY * sign;
    if (whole < -746) return 0 * sign;
    pair p = product(y, l.high);
    return sign * exp_of(p.high, p.low + y * l.low);
}

// pi / 2 in three parts; the first two have 33 bits, so that their multiples by whole numbers below
// 2^20 are exact.
static const double QUARTER_1 = 0x1.921fb544p0, QUARTER_2 = 0x1.0b4611a6p-34,
                    QUARTER_3 = 0x1.3198a2e037073p-69;

// The cosine of x - quarters * pi / 2.
static double wave(double x, int quarters) {
    if (!isfinite(x)) return NAN;
    double turn = rint(x / (QUARTER_1 + QUARTER_2));
    double high = (x - turn * QUARTER_1) - turn * QUARTER_2; // at most pi / 4
    double r = high - turn * QUARTER_3;
    double square = r * r, series = 0;
    int quarter = (int)((int64_t)turn - quarters) & 3;
    if (quarter & 1) {
        for (int n = 18; n >= 2; n -= 2) series = (series + 1) * -square / (n * (n + 1));
        double sine = r + r * series;
        return quarter == 1 ? -sine : sine;
    }
    for (int n = 18; n >= 2; n -= 2) series = (series + 1) * -square / (n * (n - 1));
    return quarter == 0 ? 1 + series : -(1 + series);
}

double cos(double x) { return wave(x, 0); }

double sin(double x) { return wave(x, 1); }
