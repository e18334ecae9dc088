/* Included in front of every source of llama.cpp when scripts/venv.py compiles llama-cpp-python.

   Before version 13.3, GCC declares that the instruction which configures AMX tiles reads 8 bytes. It reads 64, and the
   compiler removes the stores of the others: every model with quantized weights then ends the process on processors with
   AMX (Sapphire Rapids and later). Here the instruction says what it reads.

   The symbol tells local_models that this library was compiled so: see local_models/llama/library.py. */
#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg\t%X0" ::"m"(*(const char(*)[64])(config)))
#endif

#ifdef __cplusplus
extern "C" {
#endif
__attribute__((weak, used, visibility("default"))) char three_mode_amx_tiles_are_whole = 1;
#ifdef __cplusplus
}
#endif
