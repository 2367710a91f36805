// The part of <math.h> that plugins have. `exp`, `log`, `pow`, `sin`, and `cos` are computed inside
// the plugin, so they give the same bits on every machine.
#pragma once

#define INFINITY (__builtin_inff())
#define NAN (__builtin_nanf(""))
#define M_PI 3.14159265358979323846
#define M_SQRT2 1.41421356237309504880

#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf(x)
#define isfinite(x) __builtin_isfinite(x)

// Relative error below 1e-15 each; `sin` and `cos` for arguments up to a million, where their value
// is not near 0.
double exp(double x);
double log(double x);
double pow(double x, double y);
double sin(double x);
double cos(double x);

// One instruction each.
static inline double fabs(double x) { return __builtin_fabs(x); }
static inline double sqrt(double x) { return __builtin_sqrt(x); }
static inline double floor(double x) { return __builtin_floor(x); }
static inline double ceil(double x) { return __builtin_ceil(x); }
static inline double trunc(double x) { return __builtin_trunc(x); }
// The nearest whole number, of two equally near ones the even one.
static inline double rint(double x) { return __builtin_rint(x); }
